"""What goes into the ledger and what it is held against: frozen values, no database."""

from dataclasses import dataclass
from typing import Literal

#: What patients were exposed for: training, a noisy evaluation of held-out patients, or something before this ledger.
What = Literal["train", "evaluate", "imported"]

#: Bytes of a patient's keyed hash, of a plan's digest and of a study's hash.
HASH_BYTES = 32


@dataclass(frozen=True)
class Limits:
    """The most ε at `delta` one patient may spend: in all, and within one study (by its hash)."""

    epsilon_total: float
    epsilon_per_study: float
    delta: float


@dataclass(frozen=True)
class Promise:
    """The ε at `delta` that a study states for one patient over one run of it: of its training (`privacy.epsilon`), or
    of its evaluations (`evaluation.epsilon`)."""

    epsilon: float
    delta: float


@dataclass(frozen=True)
class Purpose:
    """What a charge is for. `plan` is the 32-byte digest that names the round's attempt."""

    plan: bytes
    study: str
    study_hash: bytes
    run: str
    round: int
    what: What = "train"


@dataclass(frozen=True)
class Line:
    """One line for the data protection officer: what a study's run did, and the patients it touched. `epsilon` is that
    of the patient whom this run cost most; `alone` the same if no other hospital added its share of the noise."""

    study: str
    study_hash: bytes
    run: str
    what: What
    rounds: int
    patients: int
    epsilon: float
    alone: float
    first: str
    last: str
