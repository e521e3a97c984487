"""Which network learns, and where it begins: the study's [model]."""

from typing import Annotated

from msgspec import Meta, field

from shared.study.words import Options, Word
from shared.wire import Record


class Model(Record, frozen=True):
    """A name of the closed registry (shared/models) and its options."""

    name: Word
    options: Options = field(default_factory=dict)
    #: (x − first) / second before the first layer; a survey's mean and standard deviation, or these
    scale: tuple[Annotated[float, Meta(ge=-10, le=10)], Annotated[float, Meta(ge=1e-3, le=10)]] = (0.5, 0.25)
    #: safetensors file beside the study that the run begins with, made from public or synthetic images, and its SHA-256
    init: Annotated[str, Meta(pattern=r"\A([A-Za-z0-9][A-Za-z0-9._-]{0,127})?\Z")] = ""
    init_sha256: Annotated[str, Meta(pattern=r"\A([0-9a-f]{64})?\Z")] = ""
    #: weights whose names begin so stay as they are; nothing of them is sent, up or down
    frozen: tuple[Word, ...] = ()
    #: or: only these move. Beginnings of names, or "head", "bias", "norm" for the weights of such kinds
    trained: tuple[Word, ...] = ()
    #: of the low-rank adapters beside every dense layer and convolution, 0 for none. With them nothing else moves but
    #: what `trained` names, or the head
    adapter_rank: Annotated[int, Meta(ge=0, le=256)] = 0

    def __post_init__(self) -> None:
        if bool(self.init) != bool(self.init_sha256):
            raise ValueError("init and init_sha256 together")
        if self.frozen and (self.trained or self.adapter_rank):
            raise ValueError("frozen, or trained and adapter_rank")
