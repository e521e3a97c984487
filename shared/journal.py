"""One structured line per event, for the service manager's log: JSON on stdout, nothing of a patient.

{"at":"2026-11-21T09:00:00.000+00:00","event":"registered","node":"4711"}
"""

import json
import sys
from datetime import UTC, datetime

Fact = str | int | float | bool | None


def tell(event: str, **facts: Fact) -> None:
    """Write one line, at once, in ASCII: what came from outside steers no terminal.

    Facts are names, figures and sizes; whoever calls keeps patients out of them.
    """
    line = {"at": now(), "event": event, **facts}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def now() -> str:
    """This moment, UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
