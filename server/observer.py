"""What a run tells whoever watches it: small frozen events, one method to receive them.

Guarantees: events carry names and figures only, nothing of a patient. `RunStarted` comes first; a resumed run goes
on with the `RoundStarted` of its next round. An observer must not raise and must not keep the loop waiting.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

from shared.judged import Better


@dataclass(frozen=True)
class RunStarted:
    """A run begins or is resumed. `noisy`: its figures are of counts with noise on them (evaluation.epsilon). `figure`:
    what the headline is called, and which is `better`."""

    run: str
    study: str
    sites_expected: int
    rounds: int
    noisy: bool = False
    figure: str = "AUC"
    better: Better = "higher"


@dataclass(frozen=True)
class SiteJoined:
    """A hospital is in, for the first time or again."""

    site: str


@dataclass(frozen=True)
class SiteLeft:
    """A hospital is out of `step`, and why."""

    site: str
    step: str
    reason: str


@dataclass(frozen=True)
class RoundStarted:
    """Round `round` begins; the first is 1."""

    round: int


@dataclass(frozen=True)
class StepProgress:
    """`answered` of the `asked` hospitals have answered `step`."""

    round: int
    step: str
    answered: int
    asked: int


@dataclass(frozen=True)
class RoundFinished:
    """A round's sum, over `trained`, is in the model. `figure`: the headline on the validation patients; ε per hospital
    in this run so far, of its training patients: empty where nothing bounds what training tells of them."""

    round: int
    figure: float | None
    epsilon: dict[str, float]
    trained: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class RunFinished:
    """The run is over. `because` is empty when it ran to its last round."""

    status: Literal["finished", "stopped", "failed"]
    because: str


Event = RunStarted | SiteJoined | SiteLeft | RoundStarted | StepProgress | RoundFinished | RunFinished


class Observer(Protocol):
    """Whoever watches a run."""

    def notice(self, event: Event) -> None:
        """Take one event; returns at once."""


class Silent:
    """Watches and says nothing."""

    def notice(self, event: Event) -> None:
        """Forget `event`."""
