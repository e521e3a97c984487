"""konsil-client evaluate: what a finished model is worth on this hospital's own images. Nothing leaves the house."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from client.inference.page import sentences, write_page
from client.inference.record import Evaluated, write_record
from shared.console import bars
from shared.errors import InputError
from shared.judged_page import interval_of, value_of
from shared.published import pinned, read_model
from shared.text import printable


def evaluate(
    places: Annotated[
        list[Path],
        typer.Argument(help="One model, or several to be averaged, then the archive.", metavar="MODEL... ARCHIVE"),
    ],
    *,
    labels: Annotated[
        Path | None,
        typer.Option(help="CSV with an id column and labels, or a folder of SR; not needed where images are all."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON line on stdout, nothing else.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Write evaluation.json and evaluation.html into this folder.")
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="root.pub of the federation: refuse a model not signed by it.")
    ] = None,
    subgroups: Annotated[str, typer.Option(help="Figures also by these: sex,age,manufacturer.")] = "",
    manufacturers: Annotated[str, typer.Option(help="Those that are groups of their own, with commas between.")] = "",
    views: Annotated[int, typer.Option(help="Versions of each image averaged: 1, 2 or 8. [as the study says]")] = 0,
    smallest: Annotated[int, typer.Option(help="Subgroups of fewer patients are kept back.", min=1)] = 5,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Judge a finished model on an archive that did not train it: every image is a test image."""
    from client.inference.external import Asked  # noqa: PLC0415  torch takes seconds
    from client.inference.external import evaluate as judge  # noqa: PLC0415

    if len(places) < 2:
        do = "konsil-client evaluate MODEL ARCHIVE --labels CSV"
        raise InputError("arguments", expected="a model and an archive", got=str(places[0]), do=do)
    key = None if root is None else pinned(root)
    models = [read_model(place, key) for place in places[:-1]]
    asked = Asked(places[-1], labels, _words(subgroups), _words(manufacturers), views, smallest, device)
    with bars(Console(stderr=True)) as bar:
        evaluated = judge(models, asked, _onto(bar))
    if out is not None:
        write_record(evaluated, out)
        page = write_page(evaluated, out)
    if json:
        sys.stdout.write(msgspec.json.encode(evaluated).decode() + os.linesep)
        return
    _print(evaluated, Console())
    if out is not None:
        Console(soft_wrap=True).print(Text(printable(f"wrote {page}")))


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _onto(bar: Progress) -> Callable[[str, int, int], None]:
    """Each stage as a bar of its own, from when it begins."""
    tasks: dict[str, object] = {}
    words = {"scan": "reading headers", "decode": "decoding images"}

    def tell(stage: str, done: int, of: int) -> None:
        if stage not in tasks:
            tasks[stage] = bar.add_task(words.get(stage, stage), total=of)
        bar.update(tasks[stage], completed=done, total=of)  # type: ignore[arg-type]  # a TaskID

    return tell


def _print(evaluated: Evaluated, console: Console) -> None:
    names = ", ".join(one.study for one in evaluated.models)
    table = Table("figure", "of", "value", "95 % interval", title=Text(printable(f"Evaluation of {names}")))
    for figure in evaluated.judged.figures:
        table.add_row(*map(_text, (figure.shown, figure.of, value_of(figure), interval_of(figure))))
    for name, judged in evaluated.groups.items():
        head = judged.headline
        table.add_row(*map(_text, (head.shown, f"{name} ({judged.images} images)", value_of(head), interval_of(head))))
    console.print(table)
    for sentence in sentences(evaluated):
        console.print(_text(sentence))


def _text(text: str) -> Text:
    """Labels and names come from outside: no markup, and they steer no terminal."""
    return Text(printable(text))
