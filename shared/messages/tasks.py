"""What a plan's step asks a hospital for: to train, to evaluate, or to count.

The packed task travels beside its plan; the plan holds its digest, so that all hospitals of a cohort do the same.
"""

from typing import Literal

from msgspec import field

from shared.crypto.roster import SiteName
from shared.wire import Record, digest

PAYLOAD_LABEL = "konsil/payload/v1"


class TrainTask(Record, frozen=True, tag="train"):
    """Train one round from `weights`: those that move, little-endian float32 in the layout of the study's model. With
    privacy of mode "distributed" the round is one step, its gradients clipped to `clip`."""

    weights: memoryview
    class_weights: tuple[float, ...]
    clip: float | None = None
    #: what the algorithm sends beside the weights (shared/algorithms), float32 as they are; mostly nothing
    beside: memoryview = memoryview(b"")
    #: by name, the last round whose sum holds a hospital's update and was not taken back; only where hospitals keep
    #: something between rounds: it goes on from what it kept of that round
    counted: dict[SiteName, int] = field(default_factory=dict)


class EvaluateTask(Record, frozen=True, tag="evaluate"):
    """Score the patients of `split` (1 validation, 2 test) with `weights`, those that move; `personal`: with each
    hospital's own model in their place. `before`: the digest of the weights that a vote compares with, empty for none.
    """

    weights: memoryview
    split: int
    personal: bool = False
    before: bytes = b""


class SurveyTask(Record, frozen=True, tag="survey"):
    """Count images by split, label and reason of being left out."""


AnyTask = TrainTask | EvaluateTask | SurveyTask


class Task(Record, frozen=True):
    """The payload of a step."""

    body: AnyTask


#: The name of each task's step in a plan.
STEP_OF: dict[type, Literal["train", "evaluate", "survey"]] = {
    TrainTask: "train",
    EvaluateTask: "evaluate",
    SurveyTask: "survey",
}


def payload_digest(payload: bytes | memoryview) -> bytes:
    """The 32 bytes by which a plan names what came with it."""
    return digest(PAYLOAD_LABEL, payload)
