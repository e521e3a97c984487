"""konsil-server: the central coordinator."""

from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
import typer
from rich.console import Console

from server.report.html import write_report
from server.report.result import read_result
from shared.console import run as run_app
from shared.errors import InputError
from shared.version import versions

app = typer.Typer(
    name="konsil-server", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__
)


@app.command()
def report(run: Annotated[Path, typer.Argument(help="Folder of a run, with its result.json.")]) -> None:
    """Write report.html of a run anew from its result.json."""
    source = run / "result.json"
    try:
        result = read_result(source)
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(
            str(source), expected="the result of a run", got=str(error), do="Name the folder given as --out."
        ) from None
    Console().print(f"wrote {write_report(result, run)}")


@app.command()
def version() -> None:
    """Konsil and the libraries a result depends on."""
    for name, number in versions().items():
        Console().print(f"{name} {number}")


def main() -> NoReturn:
    """The console script."""
    run_app(app)
