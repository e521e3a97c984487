"""Flower's SuperNode, which looks for messages more often while a round is on (docs/adr/0019).

    python -m client.supernode --superlink ... (the options of flower-supernode)

Flower 1.41's SuperNode sleeps three seconds whenever it finds no message, so every trip of a round waits for it, and a
round has six. Guarantees: everything is Flower's own code; only the clock that its loop sleeps by is ours. For LINGER_S
after it worked on a message it sleeps SOON_S, then three seconds again: an idle federation asks as rarely as Flower's.
"""

import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

#: What Flower sleeps when it found no message; shorter sleeps are waits for work that is being done.
IDLE_S = 3.0
#: 200 hospitals then ask 200 times a second, which a SuperLink bears for the seconds between two trips.
SOON_S = 1.0
#: Seconds after a message in which the next trip of its round is likely.
LINGER_S = 30.0


class Clock:
    """The module `time`, but for how long an idle loop sleeps."""

    def __init__(self, real: ModuleType = time) -> None:
        self._real, self._until = real, 0.0

    def sleep(self, seconds: float) -> None:
        """Flower's `time.sleep`."""
        now = self._real.monotonic()
        if seconds < IDLE_S:
            self._until = now + LINGER_S
        self._real.sleep(min(seconds, SOON_S) if now < self._until else seconds)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def main() -> None:
    """Run Flower's own command with that clock."""
    from flwr.supernode import cli, start_client_internal  # noqa: PLC0415  flwr is heavy; tests need only the clock

    vars(start_client_internal)["time"] = Clock()
    command: Callable[[], None] = cli.flower_supernode
    command()


if __name__ == "__main__":
    main()
