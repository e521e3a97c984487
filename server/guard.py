"""The hospitals' vote on every round (federation.guard), and which rounds count.

Each hospital compares the new model with the one before on its own validation patients and answers, masked, whether it
is worse (client/votes.py). Where more than half of the votes say so the round is taken back: the model, and whatever
the algorithm remembers, are as they were before it, at the coordinator and, by `counted`, at the hospitals. A run of
which MOST rounds in a row are taken back ends. Pure.

Not promised: one vote a hospital. Under masks a hospital can send any number; it can so take rounds back, and end a
run, but bring no round in.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from server.checkpoints import Checkpoint, Memory
from server.report.result import RoundRow
from server.strategies.base import State
from shared.algorithms.registry import keeps
from shared.errors import OperatorError
from shared.evaluated import Evaluated, model_digest
from shared.study import Study

#: Rounds in a row that may be taken back.
MOST = 3


def voted(row: RoundRow, counts: Evaluated, *, asked: bool) -> RoundRow:
    """`row` with the votes in `counts`, if any were `asked` for, and what follows from them: no votes take nothing
    back, nor does a tie."""
    if not asked:
        return row
    harmful, votes = counts.harmful, counts.votes
    return replace(row, harmful=harmful, votes=votes, taken_back=2 * harmful > votes)


def taken_back(checkpoint: Checkpoint, before: State) -> Checkpoint:
    """`checkpoint` with the state `before` its round in the place of the one after it."""
    memory = replace(checkpoint.memory, mass=before.mass, steps=before.steps, clip=before.clip, weight=before.images)
    return Checkpoint(memory, before, checkpoint.best)


def accepted(study: Study, checkpoint: Checkpoint, weights: memoryview) -> Checkpoint:
    """`checkpoint` whose model, `weights` as they travelled, is what the next vote compares with."""
    if not study.federation.guard:
        return checkpoint
    memory = replace(checkpoint.memory, voted=model_digest(weights).hex())
    return replace(checkpoint, memory=memory)


def check_harm(memory: Memory) -> None:
    """Raise OperatorError once so many rounds in a row were taken back that more of the same will not help."""
    last = memory.rows[-MOST:]
    if memory.judged and len(last) == MOST and all(row.taken_back for row in last):
        raise OperatorError(
            "guard",
            expected="rounds that most hospitals do not find harmful",
            got=f"{MOST} in a row that were taken back, the last by {last[-1].harmful} of {last[-1].votes} votes",
            do="A hospital may send harmful updates, or the learning rate is too high: see the hospitals' logs.",
        )


def counted(study: Study, rows: Sequence[RoundRow]) -> dict[str, int]:
    """By hospital, the last round whose sum holds its update and was not taken back; nothing where nobody keeps
    anything between rounds."""
    if not keeps(study):
        return {}
    found = {site: row.round for row in rows if not row.taken_back for site in row.trained}
    return dict(sorted(found.items()))
