"""When to strike: wait for a step of a running round, seen from outside as anyone on the host could see it.

Nothing in the daemons knows of this: the steps are read from their own files and from `konsil-client status`.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from client import frames
from client.status_record import Status
from server.history import History
from server.observer import RoundStarted, StepProgress
from shared.errors import KonsilError, OperatorError
from simulations.processes import Processes

Step = Literal[
    "before train",
    "in training",
    "vector left",
    "before confirm",
    "after confirm",
    "after unmask",
    "checkpoint written",
]
STEPS: tuple[Step, ...] = (
    "before train",
    "in training",
    "vector left",
    "before confirm",
    "after confirm",
    "after unmask",
    "checkpoint written",
)
#: Seconds to wait for a step before the suite says it never came.
PATIENCE_S = 240.0


@dataclass(frozen=True)
class Stage:
    """A run of `federation`, watched at the hospital `site`."""

    federation: Processes
    run: str
    site: str

    def wait(self, step: Step, round_: int) -> None:
        """Return when `step` of `round_` is reached. Raises OperatorError if it does not come."""
        seen: dict[Step, Callable[[], bool]] = {
            "before train": lambda: self._happened(lambda e: isinstance(e, RoundStarted) and e.round == round_),
            "in training": lambda: self._busy("train", round_),
            "vector left": lambda: self._audited("sent", "train", round_),
            "before confirm": lambda: self._happened(
                lambda e: (
                    isinstance(e, StepProgress) and (e.round, e.step) == (round_, "train") and e.answered == e.asked
                )
            ),
            "after confirm": lambda: self._audited("sent", "confirm", round_),
            "after unmask": lambda: self._audited("sent", "unmask", round_),
            "checkpoint written": self._writing,
        }
        until = time.monotonic() + PATIENCE_S
        while not seen[step]():
            if time.monotonic() > until:
                raise OperatorError(f"{step}, round {round_}", expected="to come", got=f"nothing in {PATIENCE_S:g} s")
            if step != "checkpoint written":  # that one lasts milliseconds
                time.sleep(0.02)

    def plans(self, round_: int) -> set[str]:
        """The training plans of `round_` that the hospital answered."""
        return {line["plan"] for line in self.audit() if _is(line, "answered", "train", round_)}

    def audit(self) -> list[dict[str, Any]]:
        """The hospital's audit log."""
        path = self.federation.site(self.site) / "audit.jsonl"
        lines = path.read_bytes().splitlines() if path.exists() else []
        return [found for line in lines if (found := json.loads(line)).get("run") == self.run]

    def _happened(self, wanted: Callable[[object], bool]) -> bool:
        events = History(self.federation.coordinator.history).events(self.run)
        return any(wanted(moment.event) for moment in events)

    def _audited(self, event: str, purpose: str, round_: int) -> bool:
        return any(_is(line, event, purpose, round_) for line in self.audit())

    def _busy(self, what: str, round_: int) -> bool:
        try:
            data = frames.ask(self.federation.socket(self.site), frames.STATUS, b"", timeout_s=5.0)
        except KonsilError:
            return False
        busy = msgspec.json.decode(data, type=Status).busy
        return busy is not None and (busy.what, busy.round) == (what, round_)

    def _writing(self) -> bool:
        folder = self.federation.coordinator.runs / self.run / "checkpoints"
        return folder.exists() and any(path.name.startswith(".round-") for path in folder.iterdir())


def _is(line: dict[str, Any], event: str, purpose: str, round_: int) -> bool:
    return (line["event"], line.get("purpose"), line.get("round")) == (event, purpose, round_)
