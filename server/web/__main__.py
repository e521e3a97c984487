"""`python -m server.web DIR`: serve the operator's page until stopped."""

import sys
from pathlib import Path

from server.web.app import main
from shared.console import run_main
from shared.errors import InputError


def _folder() -> Path:
    if len(sys.argv) != 2:
        raise InputError("python -m server.web", expected="the coordinator's folder", got=f"{sys.argv[1:]}")
    return Path(sys.argv[1])


if __name__ == "__main__":
    run_main("konsil-server web", lambda: main(_folder()))
