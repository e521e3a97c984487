"""Under which masks hospitals' answers are summed: the study's [aggregation]."""

from typing import Annotated, Literal

from msgspec import Meta

from shared.study.words import Positive
from shared.wire import Record


class Aggregation(Record, frozen=True):
    """Secure aggregation (PROTOCOL.md). `threshold` of the cohort must answer to unmask a sum, and always so many that
    it stays masked though `colluders` of the hospitals work with the coordinator.

    `update_norm` is the largest L2 norm of one hospital's update: longer ones are scaled down to it. `bits` of each
    parameter travel; below 32 the update is rotated first and coarser (docs/benchmarks.md says what that costs).
    """

    #: "active": masks hold against a coordinator that lies; "semi-honest": one trip less, against one that does not;
    #: "none": no masks, the coordinator sees each hospital's update (what robust means need)
    adversary: Literal["active", "semi-honest", "none"] = "active"
    threshold: Annotated[float, Meta(gt=0.5, le=1)] = 0.6
    colluders: Annotated[int, Meta(ge=0, lt=200)] = 1
    update_norm: Positive = 10.0
    bits: Literal[32, 16, 15, 14, 13, 12, 11, 10] = 32
