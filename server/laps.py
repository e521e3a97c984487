"""A round's line in the result: how long it took, what it carried, who was in it."""

import time
from typing import NamedTuple

from msgspec.structs import replace

from server.aggregate import Sum
from server.counted import Traffic
from server.report.result import RoundRow
from server.strategies.base import Applied
from shared.judged import Judged


class Lap(NamedTuple):
    """Seconds and bytes since the lap before."""

    seconds: float
    down: int
    up: int

    def onto(self, row: RoundRow) -> RoundRow:
        """`row` with this lap added."""
        return replace(
            row,
            seconds=round(row.seconds + self.seconds, 3),
            bytes_down=row.bytes_down + self.down,
            bytes_up=row.bytes_up + self.up,
        )


class Laps:
    """A watch over time and traffic."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic, self._at, self._down, self._up = traffic, time.monotonic(), 0, 0

    def lap(self) -> Lap:
        """What passed since the last call."""
        now, traffic = time.monotonic(), self._traffic
        lap = Lap(now - self._at, traffic.down - self._down, traffic.up - self._up)
        self._at, self._down, self._up = now, traffic.down, traffic.up
        return lap


def row_of(round_: int, attempt: int, total: Sum, *, applied: Applied, lap: Lap) -> RoundRow:
    """The round's line in the result, before its evaluation."""
    return RoundRow(
        round=round_,
        attempt=attempt,
        trained=total.survivors,
        evaluated=(),
        seconds=round(lap.seconds, 3),
        slowest_site_s=round(max(c.seconds for c in total.shown.values()), 3),
        bytes_down=lap.down,
        bytes_up=lap.up,
        scaled_down=applied.scaled_down,
        drift=applied.drift,
        validation=None,
        validation_auc=None,
        validation_ece=None,
    )


def with_evaluation(row: RoundRow, judged: Sum, found: Judged) -> RoundRow:
    """`row` with what the validation patients said."""
    return replace(
        row,
        evaluated=judged.survivors,
        slowest_site_s=round(row.slowest_site_s + max(c.seconds for c in judged.shown.values()), 3),
        validation=found.headline.value,
        validation_auc=_value(found, "stratified_auc"),
        validation_ece=_value(found, "calibration_error"),
    )


def _value(found: Judged, name: str) -> float | None:
    figure = found.figure(name)
    return None if figure is None else figure.value
