"""What every command line shares: bars with time left for long work, and errors that become an exit status."""

import sys
from collections.abc import Callable
from typing import NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from shared.errors import KonsilError
from shared.text import printable


def run(app: typer.Typer) -> NoReturn:
    """Run `app` as `run_main` does."""
    run_main(str(app.info.name), lambda: app(standalone_mode=True))


def run_main(name: str, main: Callable[[], None]) -> NoReturn:
    """Run `main`; exit 0 done, 1 failed, 2 bad input, with the message on stderr. Interrupted: 130.

    A message may quote what came from outside, so it is shown as one printable line.
    """
    try:
        main()
    except KonsilError as error:
        sys.stderr.write(f"{name}: {printable(str(error))}\n")
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        sys.stderr.write(f"{name}: interrupted; what was finished is kept\n")
        sys.exit(130)
    sys.exit(0)


def bars(console: Console) -> Progress:
    """Progress bars with counts and time left, one per task added."""
    columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)
