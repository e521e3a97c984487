"""evaluation.html: one evaluation for whoever decides whether a model is good enough here.

Guarantees: made from the record alone; loads nothing and escapes everything (shared/page.py); says what the figures
rest on and what they do not say.
"""

from pathlib import Path

from client.inference.record import Evaluated, Member
from shared.files import write_atomically
from shared.judged_page import blocks_of, interval_of, value_of
from shared.page import Block, Lines, Page, Rows, Section, to_html
from shared.reasons import Reason


def write_page(evaluated: Evaluated, folder: Path) -> Path:
    """`folder`/evaluation.html, whole or not at all."""
    path = folder / "evaluation.html"
    write_atomically(path, to_html(page_of(evaluated)).encode("utf-8", "replace"))
    return path


def page_of(evaluated: Evaluated) -> Page:
    """The page, before it is HTML."""
    sections = (
        Section("Figures", blocks_of(evaluated.judged)),
        *([Section("By subgroup", tuple(_groups(evaluated)))] if evaluated.groups or evaluated.hidden else []),
        Section("On what they rest", (Lines(sentences(evaluated)), *_left_out(evaluated))),
        Section("Models", (Rows(_COLUMNS, tuple(_row(one) for one in evaluated.models)),)),
        Section("Versions", (Rows(("what", "version"), tuple(evaluated.versions.items())),)),
    )
    head = evaluated.judged.headline
    lead = f"{head.shown}: {value_of(head)} (95 % interval {interval_of(head)})"
    return Page(f"Evaluation of {evaluated.models[0].study}", sections, lead)


_COLUMNS = ("study", "run", "round", "signatures checked", "study hash", "model.safetensors, SHA-256")


def sentences(evaluated: Evaluated) -> tuple[str, ...]:
    """What a reader must know beside the figures."""
    number = len(evaluated.models)
    told = [
        f"{evaluated.images} images of {evaluated.patients} patients were judged, all that could be used of"
        f" {evaluated.files} files.",
        f"Thresholds: {evaluated.judge}.",
        "Whether these patients are others than those the model was trained on, only this hospital can know.",
    ]
    if evaluated.judged.figure("stratified_auc") is not None:
        told.append("Of one hospital the site-stratified AUC is its AUC: the mean of the hospitals’ is its own too.")
    if number > 1:
        told.append(f"The outputs of {number} models were averaged.")
    if evaluated.study.evaluation.views > 1:
        told.append(f"{evaluated.study.evaluation.views} views of each image were averaged.")
    if not all(one.genuine for one in evaluated.models):
        told.append("No signature was checked: nobody vouches for the model. Name the federation’s root.pub (--root).")
    if evaluated.hidden:
        few = f"fewer than {evaluated.smallest} patients, or would tell the figures of those that do"
        told.append(f"Not shown, since they rest on {few}: {', '.join(evaluated.hidden)}.")
    return tuple(told)


def _groups(evaluated: Evaluated) -> tuple[Block, ...]:
    rows = []
    for name, judged in evaluated.groups.items():
        head = judged.headline
        rows.append((name, judged.images, head.shown, value_of(head), interval_of(head)))
    return (Rows(("of", "images", "figure", "value", "95 % interval"), tuple(rows)),)


def _left_out(evaluated: Evaluated) -> tuple[Block, ...]:
    rows = tuple((Reason(name).explain, count) for name, count in evaluated.skipped.items())
    return (Rows(("files left out because", "files"), rows),) if rows else ()


def _row(one: Member) -> tuple[str, ...]:
    return one.study, one.run, one.round, "yes" if one.genuine else "no", one.study_hash, one.sha256
