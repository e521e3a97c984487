"""konsil-client doctor: is this hospital ready, and if not, what to do."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from client.checks.context import Context
from client.doctor import Side, diagnose
from client.home import Home
from client.node_home import NodeHome
from shared.checks import json_lines, passed, render
from shared.study import read_study


def doctor(
    home: Annotated[Path, typer.Option(envvar="KONSIL_HOME", help="This hospital's Konsil folder.")] = Path(
        "~/.konsil"
    ),
    node_home: Annotated[
        Path | None, typer.Option(envvar="KONSIL_NODE_HOME", help="The network side's folder. [HOME-node]")
    ] = None,
    study: Annotated[Path | None, typer.Option(help="A study file to be ready for.")] = None,
    side: Annotated[Side, typer.Option(help="In a container: the half that runs in it.")] = "both",
    json: Annotated[bool, typer.Option("--json", help="One JSON line per check on stdout, nothing else.")] = False,
) -> None:
    """Check everything a study needs; say what to do about each fault. Exit 1 if a check fails."""
    folder = home.expanduser().resolve()
    node = node_home.expanduser().resolve() if node_home else folder.with_name(f"{folder.name}-node")
    checks = diagnose(Context(Home(folder), NodeHome(node), read_study(study) if study else None), side)
    sys.stdout.write((json_lines(checks) if json else render(checks)) + "\n")
    raise typer.Exit(0 if passed(checks) else 1)
