"""konsil-server doctor: is this coordinator ready, and if not, what to do."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from server.checks.context import Context
from server.doctor import diagnose
from server.home import ServerHome
from shared.checks import json_lines, passed, render
from shared.study import read_study


def doctor(
    folder: Annotated[Path, typer.Option("--dir", envvar="KONSIL_DIR", help="The coordinator's folder.")] = Path(),
    study: Annotated[Path | None, typer.Option(help="A study file to be ready for.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON line per check on stdout, nothing else.")] = False,
) -> None:
    """Check everything a study needs; say what to do about each fault. Exit 1 if a check fails."""
    checks = diagnose(Context(ServerHome(folder.expanduser().resolve()), read_study(study) if study else None))
    sys.stdout.write((json_lines(checks) if json else render(checks)) + "\n")
    raise typer.Exit(0 if passed(checks) else 1)
