"""What a kind of task says of a model, in records that any report can show: figures, curves, tables. No meaning here.

Guarantees: a figure that does not exist is None, never 0; an interval is 95 %; what is better is said, so that a
reader, a guard or a search need not know the figure.
"""

import math
from typing import Literal

from shared.wire import Record

Better = Literal["higher", "lower"]


class Figure(Record, frozen=True):
    """One number. `name` in snake_case, the same in every run; `of`: the label or group it is of, "" of all.

    `shown` is what people read above it; `unit` is "" of a share or a count.
    """

    name: str
    value: float | None
    shown: str
    low: float | None = None
    high: float | None = None
    of: str = ""
    better: Better = "higher"
    unit: str = ""


class Curve(Record, frozen=True):
    """One line of a chart: `x` and `y` beside each other. Curves with the same `chart` are drawn into one."""

    chart: str
    name: str
    x_label: str
    y_label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    #: the square's diagonal is drawn beside it
    diagonal: bool = False


class Table(Record, frozen=True):
    """Words and numbers in rows, under `columns`; the first of each row names it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float | int | None, ...], ...]
    note: str = ""


class Judged(Record, frozen=True):
    """What is said of held-out patients. `figures[0]` is the headline: what chooses the best round and is compared.

    `images`: how many were judged.
    """

    kind: str
    images: int
    figures: tuple[Figure, ...]
    curves: tuple[Curve, ...] = ()
    tables: tuple[Table, ...] = ()

    @property
    def headline(self) -> Figure:
        """The figure that speaks for all."""
        return self.figures[0]

    def figure(self, name: str, of: str = "") -> Figure | None:
        """The figure `name` of `of`, if there is one."""
        return next((found for found in self.figures if (found.name, found.of) == (name, of)), None)


def known(value: float) -> float | None:
    """`value`, or None where there is none (nan, infinity)."""
    return float(value) if math.isfinite(value) else None


def goodness(figure: Figure) -> float:
    """A number that is larger the better: −∞ where there is no figure."""
    if figure.value is None:
        return -math.inf
    return figure.value if figure.better == "higher" else -figure.value
