"""`report.html`: a run for the steering group and the data protection officer, in one file.

Guarantees: made from a `Result` and nothing else, but for a link to the audit's page where that lies beside it; loads
nothing (no script, font, image or style from anywhere, and a content policy in the page forbids it); every word from
outside is escaped and freed of control characters; the same result gives the same bytes; a figure that does not exist
reads "–" with the reason where one is known.

    write_report(result, Path("out"))   # out/report.html
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from server import text
from server.report import figures, verdict
from server.report.figures import Dot
from server.report.promises import promises
from server.report.result import Metrics, Result, RoundRow, Rounds, SiteAuc
from shared.files import write_atomically
from shared.reasons import Reason

#: rounds side by side in one block of the participation grid
_BLOCK = 50
State = Literal["trained", "evaluated", "out"]


@dataclass(frozen=True)
class Block:
    """A stretch of rounds of the participation grid: per hospital one state per round."""

    rounds: tuple[int, ...]
    rows: tuple[tuple[str, tuple[State, ...]], ...]


@dataclass(frozen=True)
class SiteRow:
    """One hospital's own figure, or why there is none."""

    name: str
    own: SiteAuc | None
    why: str


def write_report(result: Result, folder: Path) -> Path:
    """`folder`/report.html, whole or not at all. Raises SiteError if it cannot be written."""
    path = folder / "report.html"
    write_atomically(path, render(result, audit=(folder / "audit.html").exists()).encode("utf-8", "replace"))
    return path


def render(result: Result, *, audit: bool = False) -> str:
    """The page; with `audit`, it links audit.html."""
    site_rows = _site_rows(result)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            result=result,
            study=result.study.text,
            headline=verdict.headline(result),
            findings=verdict.findings(result),
            comparison=verdict.comparison(result),
            hospitals=verdict.hospitals(result),
            contributing=verdict.contributing(result),
            trained={site: len(verdict.rounds_trained(result, site)) for site in verdict.hospitals(result)},
            absences=verdict.absences(result),
            blocks=tuple(_blocks(result)),
            site_rows=site_rows,
            baselines=_baseline_dots(result),
            epsilon=_worst_epsilon(result),
            promises=promises(result),
            audit=audit,
            image_keys=_image_keys(result),
            sections=_study_sections(result),
            figures={name: Markup(svg) for name, svg in _figures(result, site_rows).items()},  # noqa: S704  our own SVG
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("server.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_clean,
    )
    for name in ("number", "percent", "span", "power", "size", "duration", "ranges", "plural"):
        environment.filters[name] = getattr(text, name)
    environment.filters["explain"] = _explain
    return environment


def _explain(key: str) -> str:
    """A reason of the closed list in words; anything else as it stands."""
    return Reason(key).explain if key in set(Reason) else key


def _clean(value: object) -> object:
    return text.printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _figures(result: Result, site_rows: Iterable[SiteRow]) -> dict[str, str]:
    """The figures that have something to show, by name."""
    drawn: dict[str, str] = {}
    metrics = result.metrics
    if metrics is not None and metrics.pooled_auc is not None:
        drawn["roc"] = figures.roc(metrics.roc_fpr, metrics.roc_tpr, metrics.operating_point, metrics.pooled_auc)
    if metrics is not None and any(row.count for row in metrics.calibration):
        drawn["calibration"] = figures.calibration(metrics.calibration)
    drawn |= _curves(result.rounds)
    if result.survey is not None and result.survey.intensities:
        drawn["intensities"] = figures.histogram(result.survey.intensities, "Values of the training images")
    shown = [_dot(row.name, row.own) for row in site_rows if row.own is not None and row.own.auc is not None]
    if metrics is not None and shown:
        own = [dot for dot in shown if dot is not None]
        drawn["sites"] = figures.dots([*own, *_federated(metrics, "stratified")], "The model at each hospital")
    baselines = [dot for _, dot in _baseline_dots(result) if dot is not None]
    if len(baselines) > 1:
        drawn["baselines"] = figures.dots(baselines, "Alone, pooled and federated")
    return drawn


def _curves(rounds: Rounds) -> dict[str, str]:
    each = rounds.each
    drawn: dict[str, str] = {}
    if any(row.validation_auc is not None for row in each):
        areas = [(row.round, row.validation_auc) for row in each]
        drawn["auc"] = figures.curve("Validation AUC", areas, rounds.best, "good")
    if any(row.validation_ece is not None for row in each):
        errors = [(row.round, row.validation_ece) for row in each]
        drawn["ece"] = figures.curve("Calibration error", errors, 0, "error")
    if each:
        drawn["seconds"] = figures.curve("Seconds", [(row.round, row.seconds) for row in each], 0, "time")
    return drawn


def _dot(name: str, own: SiteAuc | None) -> Dot | None:
    return None if own is None or own.auc is None else Dot(name, own.auc, own.low, own.high)


def _federated(metrics: Metrics | None, name: str) -> list[Dot]:
    if metrics is None or metrics.stratified_auc is None:
        return []
    return [Dot(name, metrics.stratified_auc, metrics.stratified_low, metrics.stratified_high, ours=True)]


def _site_rows(result: Result) -> tuple[SiteRow, ...]:
    """Every hospital with its own figure, or the reason that the record gives for its absence."""
    shown = result.metrics.sites if result.metrics else {}
    evaluated = {site for row in result.rounds.each for site in row.evaluated}
    rows = []
    for site in verdict.hospitals(result):
        own = shown.get(site)
        if result.metrics is None:
            why = "the model was not judged"
        elif own is not None:
            why = "" if own.auc is not None else _uncertain(result)
        elif not result.study.text.evaluation.per_site:
            why = "not shown: the study does not ask for it"
        elif site not in evaluated:
            why = "took part in no evaluation"
        else:
            why = "not shown: the hospital's policy keeps it"
        rows.append(SiteRow(site, own, why))
    return tuple(rows)


def _uncertain(result: Result) -> str:
    """Why a hospital's own figures hold no AUC."""
    if result.evaluation is not None:
        return "too few held-out patients of one class to tell through the noise"
    return "only one class among its held-out patients"


def _baseline_dots(result: Result) -> tuple[tuple[str, Dot | None], ...]:
    """Name and figure of each hospital alone, the pooled training, and last the federation."""
    if result.baselines is None:
        return ()
    trained = [(f"{site} alone", own) for site, own in result.baselines.alone.items()]
    if result.baselines.pooled is not None:
        trained.append(("pooled in one place", result.baselines.pooled))
    rows: list[tuple[str, Dot | None]] = []
    for name, own in trained:
        known = own.stratified_auc
        rows.append((name, None if known is None else Dot(name, known, own.low, own.high)))
    ours = _federated(result.metrics, "federated")
    return (*rows, ("federated", ours[0] if ours else None))


def _worst_epsilon(result: Result) -> tuple[str, str]:
    """The largest ε any hospital's patients spent in this run, and a word on it."""
    spent = {site: own.epsilon_run for site, own in result.privacy.items() if own.epsilon_run is not None}
    off = [site for site, own in result.privacy.items() if own.mode == "off"]
    if off or result.study.text.privacy.mode == "off":
        return "off", f"at {len(off)} of {len(result.privacy)} hospitals" if off else "the study asks for none"
    if not spent:
        return text.NONE, "no hospital recorded any"
    worst = max(spent, key=lambda site: spent[site])
    return text.number(spent[worst], 2), f"{worst}, δ {text.power(result.privacy[worst].delta)}"


def _blocks(result: Result) -> Iterable[Block]:
    each = result.rounds.each
    for start in range(0, len(each), _BLOCK):
        rows = each[start : start + _BLOCK]
        states = ((site, tuple(_state(row, site) for row in rows)) for site in verdict.hospitals(result))
        yield Block(tuple(row.round for row in rows), tuple(states))


def _state(row: RoundRow, site: str) -> State:
    return "trained" if site in row.trained else "evaluated" if site in row.evaluated else "out"


def _image_keys(result: Result) -> tuple[str, ...]:
    """Columns of the table of hospitals that show their own image counts."""
    return tuple(dict.fromkeys(key for own in result.sites.images.per_site.values() for key in own))


def _study_sections(result: Result) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    """The study file as sections of keys and readable values, in the order of the study."""
    plain = msgspec.to_builtins(result.study.text)
    top = tuple((key, _value(value)) for key, value in plain.items() if not isinstance(value, dict))
    nested = ((name, _flat(value)) for name, value in plain.items() if isinstance(value, dict))
    return (("study", top), *nested)


def _flat(section: dict[str, object]) -> tuple[tuple[str, str], ...]:
    rows: list[tuple[str, str]] = []
    for key, value in section.items():
        if isinstance(value, dict):
            rows += [(f"{key}.{inner}", _value(own)) for inner, own in value.items()]
        else:
            rows.append((key, _value(value)))
    return tuple(rows)


def _value(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_value(item) for item in value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
