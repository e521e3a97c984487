"""The last step of every command line: an error becomes one clear message and an exit status."""

import sys
from typing import NoReturn

import typer

from shared.errors import KonsilError


def run(app: typer.Typer) -> NoReturn:
    """Run `app`; exit 0 done, 1 failed, 2 bad input, with the message on stderr. Interrupted: 130."""
    try:
        app(standalone_mode=True)
    except KonsilError as error:
        sys.stderr.write(f"{app.info.name}: {error}\n")
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        sys.stderr.write(f"{app.info.name}: interrupted; what was finished is kept\n")
        sys.exit(130)
    sys.exit(0)
