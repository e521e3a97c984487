"""Histograms as inline SVG: bars, an axis, five ticks. No library, no script, no colour of its own.

>>> histogram((0.5, 0.5), 0.0, 1.0, "Two bars").startswith("<svg")
True
"""

from collections.abc import Sequence

from markupsafe import Markup, escape

#: Of the drawing, in its own units: 1 is one CSS pixel at full size.
WIDTH, HEIGHT, FOOT = 480, 120, 22


def histogram(shares: Sequence[float], low: float, high: float, subject: str) -> Markup:
    """Bars of `shares` over equal bins from `low` to `high`; `subject` is what a screen reader says."""
    most = max(shares, default=0.0) or 1.0
    step = WIDTH / max(1, len(shares))
    bars = "".join(
        f'<rect x="{place * step:.2f}" y="{HEIGHT * (1 - share / most):.2f}" width="{step * 0.9:.2f}" '
        f'height="{HEIGHT * share / most:.2f}"/>'
        for place, share in enumerate(shares)
        if share > 0
    )
    ticks = "".join(_tick(place / 4, low + (high - low) * place / 4) for place in range(5))
    return Markup(
        '<svg role="img" aria-label="{}" viewBox="0 0 {} {}"><g class="bars">{}</g>'
        '<line class="axis" x1="0" x2="{}" y1="{}" y2="{}"/>{}</svg>'
    ).format(subject, WIDTH, HEIGHT + FOOT, Markup(bars), WIDTH, HEIGHT, HEIGHT, Markup(ticks))  # noqa: S704


def _tick(place: float, value: float) -> str:
    anchor = "start" if place == 0 else "end" if place == 1 else "middle"
    return f'<text x="{place * WIDTH:.1f}" y="{HEIGHT + 16}" text-anchor="{anchor}">{escape(short(value))}</text>'


def short(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
