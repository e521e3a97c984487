"""What a hospital does in one round: the study's [training]."""

from typing import Annotated, Literal

from msgspec import Meta

from shared.study.words import Count, NotNegative, Positive
from shared.wire import Record

Augmentation = Literal["flip", "rotate", "shift", "scale", "crop", "noise", "contrast", "quarter"]


class Training(Record, frozen=True):
    """What a hospital does in one round. `batch` counts patients: drawn per step without privacy, the public
    divisor of the noisy sum with it (PRIVACY.md, one private step, 5)."""

    rounds: Count
    batch: Count
    learning_rate: Positive
    local_steps: Count | None = None
    local_epochs: Count | None = None
    optimizer: Literal["sgd", "adam"] = "sgd"
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    weight_decay: NotNegative = 0.0
    #: learning rate over the rounds: constant, or down to a tenth along a cosine, or to nothing along a line
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    #: rounds over which the rate first grows from nothing
    warmup: Annotated[int, Meta(ge=0)] = 0
    augmentation: tuple[Augmentation, ...] = ()
    #: augmented copies of each drawn image, averaged before clipping
    copies: Count = 1
    #: images of one patient that one step looks at, chosen anew each time
    images_per_patient: Annotated[int, Meta(ge=1, le=64)] = 2
    #: "equal", "balanced" (from the masked survey; never with privacy), or one public weight per label
    class_weights: Literal["equal", "balanced"] | tuple[Positive, ...] = "equal"
    #: who is drawn for a batch without privacy: patients alike, or the labels alike (each as often as the others)
    sampling: Literal["patients", "balanced"] = "patients"
    #: arithmetic of the forward and backward pass; "bfloat16" is about twice as fast where the processor has it. With
    #: privacy gradients are clipped and summed in float64 all the same
    precision: Literal["float32", "bfloat16"] = "float32"
    #: evaluations in a row without a better validation figure before the run stops; 0 never stops early
    early_stopping: Annotated[int, Meta(ge=0)] = 0
    seed: Annotated[int, Meta(ge=0, lt=2**31)] = 0

    def __post_init__(self) -> None:
        if (self.local_steps is None) == (self.local_epochs is None):
            raise ValueError("exactly one of local_steps and local_epochs")
