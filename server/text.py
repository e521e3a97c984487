"""Words and figures of a run, as a person reads them: in the report and in the terminal alike.

Guarantees: a figure that does not exist reads "–", never 0; words from outside pass `printable` (shared/text.py).

    >>> number(None), number(0.91234), ranges([3, 7, 8, 9])
    ('–', '0.912', '3, 7–9')
"""

import math
from collections.abc import Iterable

from shared.text import GAP, decimal, printable

__all__ = [
    "GAP",
    "NONE",
    "duration",
    "number",
    "percent",
    "plural",
    "power",
    "printable",
    "ranges",
    "size",
    "span",
]

NONE = "–"
_UNITS = ("B", "kB", "MB", "GB", "TB")
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | None, digits: int = 3) -> str:
    """A figure with `digits` decimals, more where it is small; "–" where there is none."""
    return NONE if value is None or math.isnan(value) else decimal(value, digits)


def percent(value: float | None) -> str:
    """A share as a percentage; "–" where there is none."""
    return NONE if value is None or math.isnan(value) else f"{100 * value:.1f}{GAP}%"


def span(low: float | None, high: float | None) -> str:
    """A 95 % interval; "–" where there is none."""
    return NONE if low is None or high is None else f"{number(low)} to {number(high)}"


def power(value: float | None) -> str:
    """A small figure such as δ: 10⁻⁵, 2.5·10⁻⁶, 0.02."""
    if value is None:
        return NONE
    mantissa, exponent, places = f"{value:g}".partition("e")
    if not exponent:
        return mantissa
    raised = f"10{str(int(places)).translate(_SUPERSCRIPT)}"
    return raised if mantissa == "1" else f"{mantissa}·{raised}"


def size(count: int) -> str:
    """Bytes in units of 1000, as networks are billed."""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return (
        f"{count}{GAP}B" if unit == 0 else f"{value:.3g}{GAP}{_UNITS[unit]}" if value < 1000 else f"{value:,.0f}{GAP}TB"
    )


def duration(seconds: float) -> str:
    """A time span with no more precision than a reader uses: 0.4 s, 12 s, 3 min 05 s, 2 h 10 min."""
    if seconds < 10:
        return f"{seconds:.1f}{GAP}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{GAP}s"
    if whole < 3600:
        return f"{whole // 60}{GAP}min{GAP}{whole % 60:02d}{GAP}s"
    return f"{whole // 3600}{GAP}h{GAP}{whole % 3600 // 60:02d}{GAP}min"


def ranges(values: Iterable[int]) -> str:
    """Whole numbers in order, neighbours joined: 3, 7–9."""
    runs: list[list[int]] = []
    for value in sorted(set(values)):
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ", ".join(f"{a}" if a == b else f"{a}–{b}" for a, b in runs)


def plural(count: int, noun: str) -> str:
    """`1 round`, `2 rounds`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
