"""What the numbers mean that a study's network returns, for whoever reads them without the measures of its kind.

Guarantees: said by the kind of task itself, of one study (`Kind.meaning`), and nowhere else: models are averaged by it,
exported ones carry it, the model card shows it. A network returns logits or values as it was trained on them, in every
format; what makes probabilities, values or masks of them stands here.
"""

from typing import Literal

from shared.wire import Record

#: "softmax": logits of classes that exclude each other, along dimension 1; "sigmoid": logits that do not; "mean":
#: values of which a mean is one again
Link = Literal["softmax", "sigmoid", "mean"]


class Value(Record, frozen=True):
    """minimum + (maximum − minimum) × (output + 0.5), in `unit`, held between `minimum` and `maximum`: the network says
    how far a value lies from the middle of its range."""

    minimum: float
    maximum: float
    unit: str


class Window(Record, frozen=True):
    """An image larger than `size`, pixels along each side, is looked at in windows of that size whose neighbours share
    the part `overlap` of their sides; logits are averaged, weighted as `mode` says, by MONAI's function of the name
    sliding_window_inference."""

    size: tuple[int, ...]
    overlap: float = 0.5
    mode: Literal["gaussian"] = "gaussian"


class Meaning(Record, frozen=True):
    """`words` for a reader: what the outputs are and how they are read. `link`: how those of several networks are
    averaged; None where no mean of outputs is an output. `channels`: names along dimension 1, () where it has none.
    `value` and `window` where there is one."""

    words: str
    link: Link | None = None
    channels: tuple[str, ...] = ()
    value: Value | None = None
    window: Window | None = None
