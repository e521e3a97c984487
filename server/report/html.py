"""`report.html`: a run for the steering group and the data protection officer, in one file.

Guarantees: made from a `Result` and nothing else, but for links to the audit's page and the model card where they lie
beside it; loads nothing (no script, font, image or style from anywhere, and a content policy in the page forbids it);
every word from outside is escaped and freed of control characters; the same result gives the same bytes; a figure that
does not exist reads "–" with the reason where one is known.

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
from server.report import figures, panels, verdict
from server.report.baselines import described
from server.report.cross_site import cross_site
from server.report.figures import Dot
from server.report.heads import baseline_head, head_of, named
from server.report.judged import LEAST_IMAGES
from server.report.promises import promises
from server.report.result import Result, RoundRow, SiteAuc
from shared.files import write_atomically
from shared.judged import Figure
from shared.reasons import Reason

#: rounds side by side in one block of the participation grid
_BLOCK = 50
FEDERATED = "federated"
State = Literal["trained", "evaluated", "out"]


@dataclass(frozen=True)
class Block:
    """A stretch of rounds of the participation grid: per hospital one state per round."""

    rounds: tuple[int, ...]
    rows: tuple[tuple[str, tuple[State, ...]], ...]


@dataclass(frozen=True)
class SiteRow:
    """One hospital's own figure, or why there is none; `own` has its numbers of images, of areas under curves."""

    name: str
    figure: Figure | None
    own: SiteAuc | None
    why: str


def write_report(result: Result, folder: Path) -> Path:
    """`folder`/report.html, whole or not at all. Raises SiteError if it cannot be written."""
    path = folder / "report.html"
    beside = {name: (folder / page).exists() for name, page in (("audit", "audit.html"), ("card", "model-card.html"))}
    write_atomically(path, render(result, **beside).encode("utf-8", "replace"))
    return path


def render(result: Result, *, audit: bool = False, card: bool = False) -> str:
    """The page; with `audit`, it links audit.html, and with `card` model-card.html."""
    site_rows, head = _site_rows(result), head_of(result)
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
            baselines=_baseline_heads(result),
            against=described(result.study.text),
            across=cross_site(result),
            head=head,
            named=named(head),
            areas=_areas(result),
            names=_names(result),
            panel=panels.panel(result.judged, drawn=_areas(result)),
            groups=panels.group_rows(result),
            least_images=LEAST_IMAGES,
            personal=panels.personal_rows(result),
            guarded=any(row.votes for row in result.rounds.each),
            drifted=any(row.drift is not None for row in result.rounds.each),
            epsilon=_worst_epsilon(result),
            promises=promises(result),
            audit=audit,
            card=card,
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
    environment.filters["figure"] = panels.value
    environment.filters["explain"], environment.filters["cell"] = _explain, _cell
    return environment


def _explain(key: str) -> str:
    """A reason of the closed list in words; anything else as it stands."""
    return Reason(key).explain if key in set(Reason) else key


def _cell(value: str | float | None) -> str:
    """One cell of a record's table."""
    if isinstance(value, int):
        return f"{value:,}"
    return value if isinstance(value, str) else text.number(value)


def _clean(value: object) -> object:
    return text.printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _areas(result: Result) -> bool:
    """Whether the record is of one finding: areas under curves, an operating point."""
    task = result.study.text.task
    return task.kind == "classification" and (len(task.labels) == 2 or bool(task.finding))


def _names(result: Result) -> tuple[str, str]:
    """What is not the finding, and what is."""
    task = result.study.text.task
    finding = task.finding or task.labels[-1:]
    return ", ".join(label for label in task.labels if label not in finding), ", ".join(finding)


def _figures(result: Result, site_rows: Iterable[SiteRow]) -> dict[str, str]:
    """The figures that have something to show, by name."""
    drawn: dict[str, str] = {}
    metrics, head = result.metrics, head_of(result)
    if metrics is not None and metrics.pooled_auc is not None:
        drawn["roc"] = figures.roc(metrics.roc_fpr, metrics.roc_tpr, metrics.operating_point, metrics.pooled_auc)
    if metrics is not None and any(row.count for row in metrics.calibration):
        drawn["calibration"] = figures.calibration(metrics.calibration)
    drawn |= _curves(result)
    if result.survey is not None and result.survey.intensities:
        drawn["intensities"] = figures.histogram(result.survey.intensities, "Values of the training images")
    short = _short(head)
    shown = [dot for row in site_rows if (dot := _dot(row.name, row.figure)) is not None]
    if shown and head.value is not None:
        ours = Dot(head.shown, head.value, head.low, head.high, ours=True)
        drawn["sites"] = figures.dots([*shown, ours], "The model at each hospital", short)
    baselines = [dot for name, own in _baseline_heads(result) if (dot := _dot(name, own)) is not None]
    if len(baselines) > 1:
        drawn["baselines"] = figures.dots(baselines, "Alone, pooled and federated", short)
    if groups := panels.group_dots(result):
        drawn["groups"] = figures.dots(groups, "The model by subgroup", short)
    return drawn


def _short(head: Figure) -> str:
    """The headline's name in a chart, with its unit."""
    if head.name == "stratified_auc":
        return "AUC"
    return f"{head.shown} ({head.unit})" if head.unit else head.shown


def _curves(result: Result) -> dict[str, str]:
    """What changed from round to round."""
    rounds, drawn = result.rounds, dict[str, str]()
    each, name = rounds.each, f"Validation {_short(head_of(result))}"
    heads = [(row.round, row.validation_auc if row.validation is None else row.validation) for row in each]
    if any(value is not None for _, value in heads):
        drawn["validation"] = figures.curve(name, heads, rounds.best, "good")
    if any(row.validation_ece is not None for row in each):
        errors = [(row.round, row.validation_ece) for row in each]
        drawn["ece"] = figures.curve("Calibration error", errors, 0, "error")
    if any(row.drift is not None for row in each):
        drawn["drift"] = figures.curve("Drift", [(row.round, row.drift) for row in each], 0, "error")
    if each:
        drawn["seconds"] = figures.curve("Seconds", [(row.round, row.seconds) for row in each], 0, "time")
    return drawn


def _dot(name: str, own: Figure | None) -> Dot | None:
    if own is None or own.value is None:
        return None
    return Dot(name, own.value, own.low, own.high, ours=name == FEDERATED)


def _site_rows(result: Result) -> tuple[SiteRow, ...]:
    """Every hospital with its own figure, or the reason that the record gives for its absence."""
    shown, counted = panels.own_by_site(result), result.metrics.sites if result.metrics else {}
    evaluated = {site for row in result.rounds.each for site in row.evaluated}
    rows = []
    for site in verdict.hospitals(result):
        own = shown.get(site)
        if result.metrics is None and result.judged is None:
            why = "the model was not judged"
        elif own is not None:
            why = "" if own.value is not None else _uncertain(result)
        elif not result.study.text.evaluation.per_site:
            why = "not shown: the study does not ask for it"
        elif site not in evaluated:
            why = "took part in no evaluation"
        else:
            why = "not shown: the hospital's policy keeps it"
        rows.append(SiteRow(site, own, counted.get(site), why))
    return tuple(rows)


def _uncertain(result: Result) -> str:
    """Why a hospital's own figures hold no headline."""
    if result.evaluation is not None:
        return "too few held-out patients of one class to tell through the noise"
    return "only one class among its held-out patients" if _areas(result) else "too little among its held-out patients"


def _baseline_heads(result: Result) -> tuple[tuple[str, Figure | None], ...]:
    """Name and headline of each hospital alone, the pooled training, and last the federation; None without a value."""
    if result.baselines is None:
        return ()
    heads = [(f"{site} alone", baseline_head(own)) for site, own in result.baselines.alone.items()]
    if result.baselines.pooled is not None:
        heads.append(("pooled in one place", baseline_head(result.baselines.pooled)))
    return tuple((name, None if own.value is None else own) for name, own in (*heads, (FEDERATED, head_of(result))))


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
