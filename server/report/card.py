"""The model card: what a model is for, what it was made of, how good it is for whom, and what nobody knows of it.

Guarantees: made from a `Result` and the weights' digest and nothing else, so anyone who holds result.json can make it
again; the same result gives the same bytes; what was not measured stands under its limits; words from outside are
escaped (shared/page.py). The headings follow Mitchell et al., Model Cards for Model Reporting (2019).

    write_cards(result, Path("out"))   # out/model-card.md, out/model-card.html
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from server.report import verdict
from server.report.baselines import described
from server.report.limits import limits
from server.report.promises import promises
from server.report.result import Result
from server.text import NONE, number, plural, power, ranges
from shared.export.facts import given_shape
from shared.files import write_atomically
from shared.judged import Figure, Judged
from shared.judged_page import blocks_of, interval_of, value_of
from shared.manifest import sha256
from shared.page import Block, Cell, Commands, Lines, Page, Rows, Section, to_html, to_markdown
from shared.reasons import Reason
from shared.study import Study
from shared.tasks.registry import kind_of

#: what stands beside report.html
MARKDOWN, HTML = "model-card.md", "model-card.html"


def write_cards(result: Result, folder: Path) -> None:
    """Both cards into `folder`, beside the weights they are of. Raises SiteError if they cannot be written."""
    weights = folder / "model.safetensors"
    digest = sha256(weights.read_bytes()) if weights.is_file() else ""
    for name, data in cards(result, digest).items():
        write_atomically(folder / name, data)


def cards(result: Result, weights: str) -> Mapping[str, bytes]:
    """Both cards by file name; `weights`: SHA-256 of model.safetensors in hex, "" where there is none."""
    page = card(result, weights)
    return {MARKDOWN: to_markdown(page).encode("utf-8", "replace"), HTML: to_html(page).encode("utf-8", "replace")}


def card(result: Result, weights: str) -> Page:
    """The page, before it is Markdown or HTML."""
    study = result.study.text
    sections = (
        Section("What it is", (Lines(tuple(_identity(result))),)),
        Section("Intended use", (Lines(_USE),)),
        Section("Limits", (Lines(limits(result)),)),
        Section("Figures", tuple(_figures(result))),
        Section("Data", tuple(_data(result))),
        Section("Training", (Rows(("what", "value"), tuple(_training(result, study))),)),
        Section("Privacy and aggregation", tuple(_privacy(result))),
        Section("How to use it", (Lines((*_HOW, *_outputs(study))), Commands(_commands(study)))),
        Section("Names and digests", (Rows(("what", "value"), tuple(_digests(result, weights))),)),
    )
    return Page(f"Model card: {study.name}", sections, f"Run {result.run}: {verdict.headline(result)}")


#: Said of every model.
_USE = (
    "For research: to be studied, validated and compared. It is no medical device, has no approval by any authority,"
    " and no diagnosis or treatment may rest on what it says.",
    "Whoever wants to use it on patients must validate it on their own images first, and meet their country’s law.",
    "It answers only for images such as those under Data; what it says of others means nothing, without a warning.",
)
_HOW = (
    "root.pub is the consortium’s public key, handed out by its root; MODEL is the folder this card lies in.",
    "An exported model takes canonical tensors; how an image becomes one stands in the file beside it.",
)


def _outputs(study: Study) -> Iterable[str]:
    meaning, views = kind_of(study).meaning, study.evaluation.views
    yield f"What the network returns: {meaning.words}."
    if meaning.window is not None:
        size = " × ".join(map(str, meaning.window.size))
        shared = f"neighbours sharing {meaning.window.overlap:g} of their sides"
        yield f"It learnt from parts of images, and was judged by a window of {size} pixels that slides, {shared}."
    if views > 1:
        yield f"It was judged on {views} views of each image, averaged."


def _commands(study: Study) -> tuple[str, ...]:
    labels = "" if kind_of(study).target == "none" else " --labels labels.csv"
    return (
        "konsil-server verify MODEL --root root.pub",
        f"konsil-client evaluate MODEL ARCHIVE{labels} --root root.pub --out evaluation",
        "konsil-server export MODEL --format onnx --out model.onnx --root root.pub",
    )


def _identity(result: Result) -> Iterable[str]:
    study = result.study.text
    labels = ", ".join(study.task.labels) or "no labels"
    yield f"{study.task.kind} ({labels}) from {' or '.join(study.input.modalities)} by the network {study.model.name}."
    sites = verdict.contributing(result)
    yield f"Trained by {plural(len(sites), 'hospital')} ({', '.join(sites) or 'none'}) with the images staying there."
    if study.task.kind == "classification" and len(study.task.labels) == 2:
        yield f"The finding it looks for is {study.task.labels[-1]}."
    shape = " × ".join(map(str, given_shape(study)))
    yield f"It takes float32 tensors of {shape} between 0 and 1 and scales them itself."


def _figures(result: Result) -> Iterable[Block]:
    judged = result.judged
    if judged is None:
        yield Lines(("No figures: the model was not judged on held-out patients.",))
        return
    yield Lines((f"Of {plural(judged.images, 'held-out image')} of the hospitals that trained it.",))
    yield from blocks_of(judged)
    if result.groups:
        yield Rows(_GROUP_COLUMNS, tuple(_heads(result.groups)), "By subgroup")
    if result.own:
        yield Rows(_GROUP_COLUMNS[:1] + _GROUP_COLUMNS[2:], tuple(_own(result.own)), "At each hospital that shows it")
    yield from _baselines(result)


_GROUP_COLUMNS = ("of", "images", "figure", "value", "95 % interval")


def _heads(each: Mapping[str, Judged]) -> Iterable[tuple[Cell, ...]]:
    for name, judged in each.items():
        head = judged.headline
        yield name, judged.images, head.shown, value_of(head), interval_of(head)


def _own(each: Mapping[str, Figure]) -> Iterable[tuple[Cell, ...]]:
    for name, figure in each.items():
        yield name, figure.shown, value_of(figure), interval_of(figure)


def _baselines(result: Result) -> Iterable[Block]:
    if result.baselines is None:
        return
    trained = {f"{site} alone": own.judged for site, own in result.baselines.alone.items()}
    trained |= {"all images in one place": result.baselines.pooled.judged} if result.baselines.pooled else {}
    known = {name: judged for name, judged in trained.items() if judged is not None}
    if known:
        yield Rows(_GROUP_COLUMNS, tuple(_heads(known)), "Compared with, on the same held-out patients")
        yield Lines((described(result.study.text),))


def _data(result: Result) -> Iterable[Block]:
    images, study = result.sites.images, result.study.text
    splits = ", ".join(f"{name} {count}" for name, count in images.splits.items()) or "not counted"
    yield Lines(
        (
            f"{plural(images.used, 'image')} of {plural(len(verdict.contributing(result)), 'hospital')}: {splits}.",
            f"Expected: {', '.join(result.sites.expected)}.",
        )
    )
    if result.survey is not None:
        yield Rows(("label", "training images"), tuple(result.survey.labels.items()), "Labels")
    yield Rows(("what", "value"), tuple(_section(study, "input")), "What an image becomes")
    left_out = tuple((_explained(name), count) for name, count in images.skipped.items() if count)
    if left_out:
        yield Rows(("files left out because", "files"), left_out, "Left out")
    gone = tuple((one.site, one.step, one.rounds, one.reason) for one in verdict.absences(result))
    if gone:
        yield Rows(("hospital", "step", "rounds", "why"), gone, "Hospitals missing from steps")


def _explained(name: str) -> str:
    return Reason(name).explain if name in set(Reason) else name


def _training(result: Result, study: Study) -> Iterable[tuple[Cell, ...]]:
    yield "rounds, best round", f"{result.rounds.count}, {result.rounds.best}"
    for section in ("model", "federation", "training"):
        for name, value in _section(study, section):
            yield f"{section}.{name}", value
    taken = [row.round for row in result.rounds.each if row.taken_back]
    yield "rounds taken back", ranges(taken) or "none"


def _section(study: Study, name: str) -> Iterable[tuple[str, str]]:
    plain = msgspec.to_builtins(getattr(study, name))
    for key, value in plain.items():
        if value not in (None, "", (), [], {}):
            yield key, _plain(value)


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(own)}" for key, own in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _privacy(result: Result) -> Iterable[Block]:
    rows = tuple((one.whom, one.what, one.against, one.rests) for one in promises(result))
    yield Rows(("whom", "what is promised", "against", "on what it rests"), rows)
    each = tuple(
        (site, own.mode, number(own.epsilon_run, 2), number(own.epsilon_total, 2), power(own.delta), str(own.honest))
        for site, own in result.privacy.items()
        if own.mode != "off"
    )
    if each:
        columns = ("hospital", "mode", "ε of this run", "ε in all", "δ", "honest hospitals it rests on")
        yield Rows(columns, each, "Per patient, as hospitals’ ledgers say")
    facts = result.aggregation
    if facts is not None:
        yield Rows(
            ("what", "value"),
            (
                ("masks hold against", facts.adversary),
                ("hospitals needed to open a sum", f"{facts.threshold} of {facts.cohort}"),
                ("colluding hospitals it withstands", str(facts.colluders)),
                ("bits per parameter", str(facts.bits)),
            ),
            "Secure aggregation",
        )


def _digests(result: Result, weights: str) -> Iterable[tuple[Cell, ...]]:
    yield "run", result.run
    yield "study", result.study.name
    yield "study hash", result.study.hash
    yield "model.safetensors, SHA-256", weights or NONE
    yield from result.versions.items()
