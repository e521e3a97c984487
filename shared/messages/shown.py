"""What a hospital shows in the clear beside its masked vector: its own choice, and signed (`replies.Contributed`)."""

import math

from shared.wire import Record


class Spent(Record, frozen=True):
    """What the ledger says after this round, for the patient who spent most; `steps` charged in this run. ε in total,
    over all studies, is shown only by a hospital that shows its counts: it tells of who was in earlier ones.

    It takes the noise of `honest` hospitals; `epsilon_alone` is ε of this run if nobody else added any. `evaluation`: ε
    of the run's noisy evaluations for a patient held out, at the study's evaluation.delta.
    """

    steps: int
    epsilon_run: float
    epsilon_total: float | None
    delta: float
    noise_multiplier: float
    honest: int = 1
    epsilon_alone: float | None = None
    evaluation: float | None = None


class OwnFigures(Record, frozen=True):
    """One hospital's own headline figure (shared/judged.py) with its 95 % interval, of `n` images, `positives` of them
    with the finding where there is one; only by its policy's leave."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    positives: int | None = None


class Shown(Record, frozen=True):
    """All of it.

    `seconds`: exact only from a site that shows its image counts too; from others on the grid of `coarse_seconds`.
    """

    seconds: float
    spent: Spent | None = None
    figures: OwnFigures | None = None
    counts: dict[str, int] | None = None


def coarse_seconds(seconds: float) -> float:
    """`seconds` up to the next power of two, from 1 on: a public grid.

    How long a round takes grows with the patients drawn. What is still visible is the order of magnitude, as it is to
    anyone who watches when the reply comes.
    """
    return float(2 ** max(0, math.ceil(math.log2(max(seconds, 1.0)))))
