"""The options of each algorithm, as they stand in the study's [federation.options].

Rates and decays go by the names of the papers that the algorithms' own files cite (server/strategies,
client/training/algorithms).
"""

from typing import Annotated

import msgspec
from msgspec import Meta

Positive = Annotated[float, Meta(gt=0, le=1e6)]
Share = Annotated[float, Meta(ge=0, lt=1)]


class Common(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of every algorithm. `personal_mu`: how strongly a hospital's own whole model (federation.personal = ["all"]) is
    drawn to the common one."""

    personal_mu: Positive = 0.1


class Averaging(Common, frozen=True):
    """The model moves by `server_rate` times the mean update, plus `server_momentum` of the movement before."""

    server_rate: Positive = 1.0
    server_momentum: Share = 0.0


class Proximal(Averaging, frozen=True):
    """`mu`: how strongly a hospital's steps are drawn to where the round began."""

    mu: Positive = 0.01


class Adaptive(Common, frozen=True):
    """An adaptive optimiser at the coordinator: rate, decay of the first moment and of the second, and what keeps the
    divisor away from 0."""

    server_rate: Positive = 0.1
    beta1: Share = 0.9
    beta2: Share = 0.99
    tau: Positive = 1e-3


class Adding(Common, frozen=True):
    """The same where the second moment only grows."""

    server_rate: Positive = 0.1
    beta1: Share = 0.0
    tau: Positive = 1e-3


class Rate(Common, frozen=True):
    """`server_rate` times the mean update."""

    server_rate: Positive = 1.0


class Regularised(Common, frozen=True):
    """`alpha`: how strongly a hospital's steps are drawn to where the round began."""

    alpha: Positive = 0.1


class Extrapolating(Common, frozen=True):
    """`epsilon`: keeps the divisor away from 0; `most`: the largest rate taken."""

    epsilon: Positive = 1e-3
    most: Annotated[float, Meta(ge=1, le=1e6)] = 10.0


class Trimming(Common, frozen=True):
    """`trim`: the share of hospitals left out at either end, for each weight on its own."""

    trim: Annotated[float, Meta(gt=0, lt=0.5)] = 0.2


class Choosing(Common, frozen=True):
    """`hostile`: so many hospitals may send anything."""

    hostile: Annotated[int, Meta(ge=0, lt=100)] = 1


class ChoosingMany(Choosing, frozen=True):
    """`keep`: of so many hospitals, those closest to each other, the mean is taken; 0 for all that are not hostile."""

    keep: Annotated[int, Meta(ge=0, lt=200)] = 0
