"""What is promised per patient: the study's [privacy]."""

from typing import Annotated, Literal

from msgspec import Meta

from shared.study.words import Fraction, Positive
from shared.wire import Record


class Privacy(Record, frozen=True):
    """What is promised per patient (PRIVACY.md). `sampling_rate`: Poisson rate of patients per step.

    "local": every hospital adds all the noise itself and makes `training.local_steps` in a round. "distributed": every
    round is one optimiser step of the coordinator on one masked sum, in which the honest hospitals' shares of the noise
    add up to all of it.
    """

    mode: Literal["off", "local", "distributed"]
    unit: Literal["patient"] = "patient"
    epsilon: Positive | None = None
    delta: Fraction | None = None
    clip: Annotated[float, Meta(ge=1e-6, le=1e6)] | None = None
    sampling_rate: Annotated[float, Meta(gt=0, le=1)] | None = None
    #: the clip, which `clip` begins, follows the norm that this share of the patients stays below (mode "distributed")
    clip_quantile: Fraction | None = None

    def __post_init__(self) -> None:
        given = (self.epsilon, self.delta, self.clip, self.sampling_rate)
        if self.mode == "off" and any(value is not None for value in (*given, self.clip_quantile)):
            raise ValueError('no epsilon, delta, clip, sampling_rate or clip_quantile while mode = "off"')
        if self.mode != "off" and any(value is None for value in given):
            raise ValueError(f'epsilon, delta, clip and sampling_rate with mode = "{self.mode}"')
        if self.clip_quantile is not None and self.mode != "distributed":
            raise ValueError('clip_quantile only with mode = "distributed"')
