"""Curves as a small drawing in SVG: lines in a frame, ends of the axes written beside it. No fonts, no script.

Guarantees: words are escaped; the same curves give the same bytes; the text below the drawing says what the lines are,
so that nothing rests on colour alone.

    chart([Curve(chart="ROC", name="all", x_label="1 − specificity", y_label="sensitivity", x=(0, 1), y=(0, 1))])
"""

from collections.abc import Sequence
from html import escape

from shared.judged import Curve
from shared.text import printable

#: of the drawing, and of the frame in it, in pixels
WIDTH, HEIGHT, LEFT, TOP, SIDE = 420, 380, 60, 15, 300
_DASHES = ("", "6 3", "2 3", "8 3 2 3")


def chart(curves: Sequence[Curve]) -> str:
    """`curves` of one chart; axes from 0 to 1, further where a value lies outside."""
    x, y = _ends([v for curve in curves for v in curve.x]), _ends([v for curve in curves for v in curve.y])
    frame = f'<rect x="{LEFT}" y="{TOP}" width="{SIDE}" height="{SIDE}" fill="none" stroke="currentColor"/>'
    lines = [_line(curve, place, x, y) for place, curve in enumerate(curves)]
    first = curves[0]
    words = [
        _word(LEFT, TOP + SIDE + 18, f"{x[0]:g}"),
        _word(LEFT + SIDE, TOP + SIDE + 18, f"{x[1]:g}", "end"),
        _word(LEFT + SIDE / 2, TOP + SIDE + 18, first.x_label, "middle"),
        _word(LEFT - 6, TOP + SIDE, f"{y[0]:g}", "end"),
        _word(LEFT - 6, TOP + 12, f"{y[1]:g}", "end"),
        _word(LEFT + 6, TOP + 16, first.y_label),
    ]
    names = [
        _word(LEFT, TOP + SIDE + 36 + 14 * k, f"{'line' if not _dash(k) else 'dashes ' + _dash(k)}: {curve.name}")
        for k, curve in enumerate(curves)
    ]
    height = HEIGHT + 14 * max(0, len(curves) - 2)
    title = escape(printable(first.chart))
    body = "".join([frame, _diagonal(x, y) if first.diagonal else "", *lines, *words, *names])
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}" font-size="12">{body}</svg>'


def _ends(values: Sequence[float]) -> tuple[float, float]:
    return min([0.0, *values]), max([1.0, *values])


def _dash(place: int) -> str:
    return _DASHES[place % len(_DASHES)]


def _line(curve: Curve, place: int, x: tuple[float, float], y: tuple[float, float]) -> str:
    points = " ".join(f"{_at(a, x):.1f},{_up(b, y):.1f}" for a, b in zip(curve.x, curve.y, strict=True))
    dash = f' stroke-dasharray="{_dash(place)}"' if _dash(place) else ""
    return f'<polyline points="{points}" fill="none" stroke="var(--blue)" stroke-width="1.6"{dash}/>'


def _diagonal(x: tuple[float, float], y: tuple[float, float]) -> str:
    ends = f'x1="{_at(0, x):.1f}" y1="{_up(0, y):.1f}" x2="{_at(1, x):.1f}" y2="{_up(1, y):.1f}"'
    return f'<line {ends} stroke="currentColor" stroke-opacity=".3"/>'


def _at(value: float, ends: tuple[float, float]) -> float:
    return LEFT + SIDE * (value - ends[0]) / (ends[1] - ends[0])


def _up(value: float, ends: tuple[float, float]) -> float:
    return TOP + SIDE * (1 - (value - ends[0]) / (ends[1] - ends[0]))


def _word(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="currentColor">{escape(printable(text))}</text>'
