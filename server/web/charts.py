"""One figure over the rounds as coordinates of an inline SVG; the template draws them with the page's own colours.

Guarantees: no style attribute (the page's content policy forbids them) and nothing loaded; what the line shows is said
in words too; rounds without a figure are left out of the line. Lengths are in the SVG's own units.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from server.text import number

WIDTH, HEIGHT = 420.0, 200.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 410.0, 12.0, 172.0
_STEPS = (1, 2, 5)
#: a figure beyond it is none (an ε without a bound, or nonsense)
_MOST = 1e9


@dataclass(frozen=True)
class Tick:
    """A mark of an axis: where, and what it reads."""

    at: float
    text: str


@dataclass(frozen=True)
class Chart:
    """`subject` over the rounds, in `words`; `dots` are the figures, `line` the same as points of a polyline."""

    subject: str
    words: str
    line: str
    dots: tuple[tuple[float, float], ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]


def chart(subject: str, points: Sequence[tuple[int, float | None]]) -> Chart | None:
    """`subject` over the rounds; None where no round has a figure that can be drawn."""
    known = [(place, value) for place, value in points if value is not None and abs(value) < _MOST]
    if not known:
        return None
    values = [value for _, value in known]
    up = _ticks(min(values), max(values))
    first, last = known[0][0], known[-1][0]
    across = [tick for tick in _ticks(first, last) if tick.is_integer() and first <= tick <= last] or [float(first)]

    def x(place: float) -> float:
        return round(_LEFT + (_RIGHT - _LEFT) * ((place - first) / (last - first) if last > first else 0.5), 1)

    def y(value: float) -> float:
        return round(_BOTTOM - (_BOTTOM - _TOP) * (value - up[0]) / (up[-1] - up[0]), 1)

    dots = tuple((x(place), y(value)) for place, value in known)
    return Chart(
        subject=subject,
        words=_words(known),
        line=" ".join(f"{a},{b}" for a, b in dots),
        dots=dots if len(dots) <= 60 else dots[-1:],
        across=tuple(Tick(x(place), f"{place:.0f}") for place in across),
        up=tuple(Tick(y(value), f"{value:.6g}") for value in up),
    )


def _words(known: Sequence[tuple[int, float]]) -> str:
    (first, begin), (last, end) = known[0], known[-1]
    if first == last:
        return f"{number(begin)} in round {first}."
    high, low = max(known, key=lambda pair: pair[1]), min(known, key=lambda pair: pair[1])
    span = f"highest {number(high[1])} in round {high[0]}, lowest {number(low[1])} in round {low[0]}"
    return f"{number(begin)} in round {first}, {number(end)} in round {last}; {span}."


def _ticks(low: float, high: float) -> list[float]:
    """Two to seven round numbers that enclose `low` to `high`."""
    reach = max(high - low, abs(high) * 0.05, 1e-6)
    power = 10.0 ** math.floor(math.log10(reach / 5))
    step = next(power * factor for factor in (*_STEPS, 10) if reach / (power * factor) <= 5)
    first = math.floor(low / step + 1e-9)
    last = max(first + 1, math.ceil(high / step - 1e-9))
    return [round(index * step, 10) for index in range(first, last + 1)]
