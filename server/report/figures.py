"""The report's figures as inline SVG, drawn by Matplotlib without its global state.

Guarantees: the same figures give the same bytes; the SVG names no outside resource and carries no element id
twice; its colours are the page's own (light, dark, print) and every mark differs by shape as well as colour;
names from outside are drawn as they stand, never as mathematics. Sizes in inches; 5 inches are 360 CSS pixels.

    >>> roc((0.0, 1.0), (0.0, 1.0), None, 0.5).startswith("<svg")
    True
"""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal
from xml.etree import ElementTree

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from server.report.result import CalibrationRow, OperatingPoint
from server.text import number, percent, printable, span
from shared.judged import Curve

WIDTH = 5.0
Kind = Literal["good", "error", "time"]
#: Colours drawn as stand-ins, then replaced by the page's variables.
INK, MUTED, LINE, BLUE, ORANGE, GREEN = (f"#00000{i}" for i in range(1, 7))
_VARIABLES = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    BLUE: "var(--blue)",
    ORANGE: "var(--orange)",
    GREEN: "var(--green)",
}
#: Lines of one chart, so that no two look alike: every colour in every stroke.
_STROKES = tuple((color, stroke) for stroke in ("-", "--", ":", "-.") for color in (BLUE, ORANGE, GREEN, INK))
_KINDS: dict[Kind, tuple[str, str]] = {"good": (BLUE, "o"), "error": (ORANGE, "s"), "time": (GREEN, "^")}
#: Any: Matplotlib's stubs list every name one by one
_STYLE: Final[Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 10.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.labelsize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Dot:
    """One row of a dot plot: a figure with its 95 % interval; `ours` is the federation's."""

    name: str
    value: float
    low: float | None
    high: float | None
    ours: bool = False


@contextmanager
def _style() -> Iterator[None]:
    """Konsil's look for what is drawn inside. Matplotlib keeps it per process: figures are drawn in one thread."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # a hospital's name may need letters that Matplotlib's own font lacks: the reader's browser has them
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from", category=UserWarning)
        yield


@_style()
def roc(fpr: Sequence[float], tpr: Sequence[float], point: OperatingPoint | None, auc: float | None) -> str:
    """Pooled ROC curve with chance and, where known, the operating point."""
    figure, axes = _square("1 − specificity", "Sensitivity")
    axes.plot([0, 1], [0, 1], "--", color=MUTED, linewidth=1, label="chance")
    axes.plot(fpr, tpr, color=BLUE, label=f"pooled, AUC {number(auc)}")
    text = f"ROC of all hospitals' held-out patients together, area {number(auc)}"
    if point is not None and point.specificity is not None and point.sensitivity is not None:
        axes.plot(
            [1 - point.specificity], [point.sensitivity], "D", color=ORANGE, markersize=8, label="operating point"
        )
        text += f"; operating point at sensitivity {number(point.sensitivity)}, specificity {number(point.specificity)}"
    axes.legend(loc="lower right")
    return _svg(figure, text)


@_style()
def calibration(rows: Sequence[CalibrationRow]) -> str:
    """Mean score against the share that is positive, one mark per tenth of the score range, area by images."""
    figure, axes = _square("Mean score of the model", "Share that is positive")
    axes.plot([0, 1], [0, 1], "--", color=MUTED, linewidth=1)
    known = [
        (row.mean_score, row.positive_share, row.count)
        for row in rows
        if row.mean_score is not None and row.positive_share is not None
    ]
    most = max((count for _, _, count in known), default=1)
    axes.plot([score for score, _, _ in known], [share for _, share, _ in known], color=BLUE, linewidth=1)
    for score, share, count in known:
        axes.plot([score], [share], "o", color=BLUE, markersize=4 + 10 * (count / most) ** 0.5, alpha=0.75)
    spoken = "; ".join(f"score {number(score, 2)}: {percent(share)} of {count}" for score, share, count in known)
    return _svg(figure, f"Calibration, score against share positive. {spoken or 'No figures.'}")


@_style()
def curve(subject: str, points: Sequence[tuple[int, float | None]], best: int, kind: Kind) -> str:
    """One figure over the rounds, its `best` round marked (0: none); rounds without a figure are bridged."""
    figure = Figure(figsize=(4.0, 2.9), layout="constrained")
    color, marker = _KINDS[kind]
    axes = figure.add_subplot(xlabel="Round", ylabel=subject, ymargin=0.12)
    known = [(place, value) for place, value in points if value is not None]
    axes.plot([p for p, _ in known], [v for _, v in known], f"{marker}-", color=color, markersize=_mark(len(known)))
    if best in dict(known):
        axes.plot([best], [dict(known)[best]], "D", color=ORANGE, markersize=8, label=f"best: round {best}")
        axes.legend(loc="best")
    if kind == "time" and known:
        axes.set_ylim(0, 1.15 * max(value for _, value in known) or 1)
    if len(known) == 1:
        axes.set_xlim(known[0][0] - 1, known[0][0] + 1)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    spoken = "; ".join(f"round {place}: {number(value)}" for place, value in points)
    return _svg(figure, f"{subject} over the rounds. {spoken}")


@_style()
def dots(rows: Sequence[Dot], subject: str, name: str = "AUC") -> str:
    """Figures of one `name` with 95 % intervals, one row each; the federation's is a diamond."""
    figure = Figure(figsize=(WIDTH, 0.75 + 0.27 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    for y, row in enumerate(rows):
        color = ORANGE if row.ours else BLUE
        if row.low is not None and row.high is not None:
            axes.plot([row.low, row.high], [y, y], "-", color=color, linewidth=1.5)
        axes.plot([row.value], [y], "D" if row.ours else "o", color=color, markersize=8 if row.ours else 6)
    ours = next((row.value for row in rows if row.ours), None)
    if ours is not None:
        axes.axvline(ours, color=ORANGE, linewidth=0.8, linestyle=":")
    least = min((row.low if row.low is not None else row.value for row in rows), default=0.5)
    if name.endswith("AUC"):
        axes.set_xlim(max(0.0, min(0.5, least) - 0.02), 1.02)
    axes.set_yticks(range(len(rows)), [printable(row.name, 24) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(printable(f"{name} with 95 % interval", 60))
    spoken = "; ".join(f"{row.name} {number(row.value)}, {span(row.low, row.high)}" for row in rows)
    return _svg(figure, f"{subject}, {name} with 95 % interval: {spoken}")


@_style()
def lines(chart: str, curves: Sequence[Curve]) -> str:
    """The lines of one chart of a record, at most as many as differ by colour and stroke; those beyond are named."""
    drawn, rest = curves[: len(_STROKES)], curves[len(_STROKES) :]
    inside = all(0 <= value <= 1 for curve in drawn for value in (*curve.x, *curve.y))
    labels = printable(curves[0].x_label, 60), printable(curves[0].y_label, 60)
    figure, axes = _square(*labels) if inside and curves[0].diagonal else _plain(*labels)
    if curves[0].diagonal and inside:
        axes.plot([0, 1], [0, 1], "--", color=MUTED, linewidth=1)
    for curve, (color, stroke) in zip(drawn, _STROKES, strict=False):
        marker = "o" if len(curve.x) <= 12 else ""
        axes.plot(curve.x, curve.y, stroke, marker=marker, color=color, label=printable(curve.name, 32))
    if len(drawn) > 1:
        axes.legend(loc="best", fontsize=8)
    spoken = "; ".join(f"{curve.name}: {_ends(curve)}" for curve in drawn)
    more = f" Not drawn: {', '.join(curve.name for curve in rest)}." if rest else ""
    return _svg(figure, f"{chart}, {labels[1]} over {labels[0]}. {spoken}.{more}")


def _ends(curve: Curve) -> str:
    if not curve.x:
        return "nothing"
    (x0, y0), (x1, y1) = ((curve.x[k], curve.y[k]) for k in (0, -1))
    return f"from {number(y0)} at {number(x0)} to {number(y1)} at {number(x1)}"


def _plain(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    return figure, figure.add_subplot(xlabel=x, ylabel=y)


@_style()
def histogram(shares: Sequence[float], subject: str) -> str:
    """Bars of `shares` over equal bins from 0 to 1."""
    figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
    axes = figure.add_subplot(xlim=(-0.01, 1.01), xlabel="Value in the tensor", ylabel="Share of the values")
    axes.bar([place / len(shares) for place in range(len(shares))], shares, 0.9 / len(shares), align="edge", color=BLUE)
    axes.grid(visible=False, axis="x")
    spoken = "; ".join(f"{place / len(shares):.2f}: {percent(share)}" for place, share in enumerate(shares) if share)
    return _svg(figure, f"{subject}, from 0 to 1. {spoken}")


def _mark(points: int) -> float:
    return 4.5 if points <= 30 else 2.5


def _square(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    axes = figure.add_subplot(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=x, ylabel=y, aspect="equal")
    return figure, axes


def _svg(figure: Figure, description: str) -> str:
    """`figure` as one <svg> element that says `description` to who cannot see it."""
    target = io.BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    # ids are hashes of shape and salt: without a salt of its own, two figures of a page would share some
    with mpl.rc_context({"svg.hashsalt": description}):
        figure.savefig(target, format="svg", metadata=nothing, transparent=True)
    root = ElementTree.fromstring(target.getvalue())  # noqa: S314  our own bytes of a moment ago
    return _tidy(root, printable(description))


def _tidy(root: ElementTree.Element, description: str) -> str:
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
        if element.tag == "g":  # figure_1, axes_1, … would stand in every figure of the page
            element.attrib.pop("id", None)
        if "style" in element.attrib:
            element.set("style", _themed(element.attrib["style"]))
        if "d" in element.attrib:
            element.set("d", " ".join(element.attrib["d"].split()))
        element.text, element.tail = (element.text or "").strip() or None, None
    for defs in root.findall("defs"):
        for style in defs.findall("style"):  # a rule for every element of the page: the page has its own
            defs.remove(style)
    for size in ("width", "height", "version"):
        root.attrib.pop(size, None)
    root.set("role", "img")
    root.set("aria-label", description)
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)


def _themed(style: str) -> str:
    style = re.sub(r"font-family:[^;]*;?\s*", "", style)
    return re.sub(r"#00000[1-6]", lambda match: _VARIABLES[match.group()], style)
