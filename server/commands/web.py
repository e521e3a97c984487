"""The login of the operator's page."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from server.home import ServerHome
from server.web.password import password_file, set_password
from shared.errors import InputError

DirOption = Annotated[Path, typer.Option("--dir", envvar="KONSIL_DIR", help="The coordinator's folder.")]
HERE = Path()


def password(
    dir: DirOption = HERE,
    stdin: Annotated[bool, typer.Option("--stdin", help="Read it from one line of standard input.")] = False,
) -> None:
    """Set the password of the operator's page, at least 12 characters. Whoever is logged in has to log in again."""
    home = ServerHome(dir)
    if not (dir / "server.toml").is_file():
        do = "Name it with --dir or KONSIL_DIR, or make one with konsil-server init."
        raise InputError(str(dir), expected="a coordinator's folder", got="no server.toml in it", do=do)
    if stdin:
        chosen = sys.stdin.readline().rstrip("\r\n")
    else:
        chosen = str(typer.prompt("New password", hide_input=True, confirmation_prompt="The same again", err=True))
    set_password(home, chosen)
    typer.echo(f"The password of the page is set ({password_file(home)})", err=True)
