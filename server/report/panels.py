"""What a report shows of a `Judged`, whatever its kind: rows of figures, tables by label, charts.

Guarantees: every figure of the record is shown once; nothing is computed here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from server.report import figures
from server.report.heads import head_of
from server.report.judged import LEAST_IMAGES
from server.report.result import Result
from server.text import NONE, number, plural, span
from shared.by_label import Sheet, alone, name_of, sheets
from shared.judged import Curve, Figure, Judged, Table

#: Drawn by name where the record holds areas under curves.
DRAWN = ("ROC", "Calibration")


@dataclass(frozen=True)
class Panel:
    """Of one judgement: `rows` of what is listed (name, value, interval), and tables `by_label` of the others."""

    rows: tuple[tuple[str, str, str], ...]
    by_label: tuple[Sheet, ...]
    charts: tuple[tuple[str, str], ...]
    tables: tuple[Table, ...]


@dataclass(frozen=True)
class GroupRow:
    """One subgroup: how many images, its headline, and what is kept back."""

    name: str
    images: str
    value: str
    interval: str
    note: str


def panel(judged: Judged | None, *, drawn: bool = False) -> Panel | None:
    """All of `judged`; without what is `drawn` elsewhere: ROC, calibration, the table at the operating point."""
    if judged is None:
        return None
    listed = tuple((name, value(figure), span(figure.low, figure.high)) for name, figure in alone(judged.figures))
    skipped = DRAWN if drawn else ()
    tables = tuple(t for t in judged.tables if not (drawn and t.title.startswith("At the operating point")))
    charts = tuple((name, svg) for name, svg in _charts(judged.curves) if name not in skipped)
    return Panel(listed, sheets(judged.figures), charts, tables)


def value(figure: Figure) -> str:
    """With its unit; whole numbers without decimals."""
    if figure.value is None:
        return NONE
    whole = figure.low is None and float(figure.value).is_integer()
    return f"{number(figure.value, 0 if whole else 3)}{f' {figure.unit}' if figure.unit else ''}"


def _charts(curves: Iterable[Curve]) -> Iterable[tuple[str, str]]:
    by_chart: dict[str, list[Curve]] = {}
    for curve in curves:
        if curve.x:
            by_chart.setdefault(curve.chart, []).append(curve)
    for name, lines in by_chart.items():
        yield name, figures.lines(name, lines)


def group_rows(result: Result) -> tuple[GroupRow, ...]:
    """Every subgroup of the study, those kept back among them."""
    rows = []
    for name, judged in result.groups.items():
        head, hidden = judged.headline, result.hidden.get(name, 0)
        notes = [f"kept back by {plural(hidden, 'hospital')} with few such patients"] if hidden else []
        few = judged.images < LEAST_IMAGES
        if few:
            notes.append("too few to show")
        images = f"fewer than {LEAST_IMAGES}" if few else f"{judged.images:,}"
        shown = (NONE, NONE) if few else (value(head), span(head.low, head.high))
        rows.append(GroupRow(name, images, *shown, "; ".join(notes)))
    return tuple(rows)


def group_dots(result: Result) -> list[figures.Dot]:
    """The subgroups that show a figure, then all together."""
    shown = [(name, j.headline) for name, j in result.groups.items() if j.images >= LEAST_IMAGES]
    dots = [figures.Dot(name, h.value, h.low, h.high) for name, h in shown if h.value is not None]
    ours = head_of(result)
    if not dots or ours.value is None:
        return []
    return [*dots, figures.Dot("all", ours.value, ours.low, ours.high, ours=True)]


def personal_rows(result: Result) -> tuple[tuple[str, str, str], ...]:
    """Figures of all images: their name, of the one model, and of the hospitals' own models."""
    if result.personal is None:
        return ()
    ours = {figure.name: figure for figure in (result.judged.figures if result.judged else ()) if not figure.of}
    return tuple(
        (name_of(own), _with_interval(ours.get(own.name)), _with_interval(own))
        for own in result.personal.figures
        if not own.of
    )


def _with_interval(figure: Figure | None) -> str:
    if figure is None or figure.value is None:
        return NONE
    return f"{value(figure)} ({span(figure.low, figure.high)})" if figure.low is not None else value(figure)


def own_by_site(result: Result) -> Mapping[str, Figure]:
    """Hospitals' own headlines, where their policy shows them."""
    if result.own or result.metrics is None:
        return result.own
    head = head_of(result)
    return {
        name: Figure(head.name, own.auc, head.shown, own.low, own.high, better=head.better)
        for name, own in result.metrics.sites.items()
    }
