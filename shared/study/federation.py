"""How hospitals work together: the study's [federation]."""

from typing import Annotated

from msgspec import Meta, field

from shared.study.words import Count, Options, Positive, Word
from shared.wire import Record


class Federation(Record, frozen=True):
    """How hospitals work together. Weights are images as a share of `max_images`; a larger site refuses."""

    min_sites: Annotated[int, Meta(ge=2, le=200)]
    #: an algorithm of the closed registry (shared/algorithms) and its options
    strategy: Word = "fedavg"
    options: Options = field(default_factory=dict)
    #: weights whose names begin so are each hospital's own ("norm": those of every normalisation, "all": a whole model
    #: of its own); the published model has their mean
    personal: tuple[Word, ...] = ()
    #: hospitals vote on their own validation patients; a round that most find harmful is taken back
    guard: bool = False
    timeout_s: Positive = 600.0
    max_images: Count = 100_000
    #: exponential average over rounds of the models handed out as the result; 0 keeps the last one
    averaging: Annotated[float, Meta(ge=0, lt=1)] = 0.0
