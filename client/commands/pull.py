"""konsil-client pull, listen: images from a PACS or a DICOMweb server into this hospital's folder of received objects.

What is printed are counts, statuses and the names of sources.toml: nobody's identity.
"""

import fcntl
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from client.commands.daemon import DEFAULT_HOME, HomeOption
from client.dicom.sources.config import Pacs, Sources, Web, read_sources
from client.dicom.sources.dimse import PacsSource
from client.dicom.sources.journal import Journal
from client.dicom.sources.listen import Listener
from client.dicom.sources.pull import PullReport
from client.dicom.sources.pull import pull as pull_source
from client.dicom.sources.store import Store
from client.dicom.sources.web import WebSource
from client.home import Home, make_keys
from shared.console import bars
from shared.errors import InputError, SiteError
from shared.files import open_as_owner
from shared.journal import tell
from shared.supervise import stop_on_signals
from shared.text import printable


def pull(
    name: Annotated[str, typer.Argument(help="One source of sources.toml. [all of them]")] = "",
    home: HomeOption = DEFAULT_HOME,
    *,
    again: Annotated[bool, typer.Option("--again", help="Ask once more for series given up before.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON line per source on stdout, nothing else.")] = False,
) -> None:
    """Bring what is missing from the PACS and DICOMweb servers of sources.toml. Exit 1 unless all of it came."""
    folder = home.expanduser().resolve()
    sources = read_sources(folder / "sources.toml")
    chosen = _chosen(sources, name)
    key = _key(folder)
    store = _store(sources, folder, key)
    reports = []
    with ExitStack() as open_until_done:
        open_until_done.enter_context(_quiet_threads())
        bar = open_until_done.enter_context(bars(Console(stderr=True)))
        journal = open_until_done.enter_context(Journal(folder / "sources.sqlite", key))
        if any(isinstance(one, Pacs) and one.retrieve == "move" for one in chosen):
            open_until_done.enter_context(_listening(sources, store, folder))
        for one in chosen:
            source = PacsSource(one, store, folder) if isinstance(one, Pacs) else WebSource(one, store, folder)
            task = bar.add_task(f"series of {one.name}", total=None)
            report = pull_source(
                source,
                store,
                journal,
                # an HTTP session has its own attempts for every request: here only for answers that broke off
                attempts=one.attempts if isinstance(one, Pacs) else 2,
                pause_s=one.pause_s,
                again=again,
                progress=lambda done, of, task=task: bar.update(task, completed=done, total=of),  # type: ignore[misc]
            )
            reports.append(report)
    for report in reports if json else ():
        sys.stdout.write(msgspec.json.encode(report).decode() + os.linesep)
    if not json:
        _show(reports, Console())
    raise typer.Exit(0 if all(report.whole for report in reports) else 1)


def listen(home: HomeOption = DEFAULT_HOME) -> None:
    """Keep what a PACS or a scanner sends here (C-STORE), until stopped. One JSON line per association."""
    folder = home.expanduser().resolve()
    sources = read_sources(folder / "sources.toml")
    if sources.listen is None:
        do = "Say there who may send, from where: docs/dicom.md."
        raise InputError("sources.toml", expected="[listen]", got="none", do=do)
    store = _store(sources, folder, _key(folder))
    stop = stop_on_signals()
    with _quiet_threads(), _alone(folder) as alone:
        if not alone:
            raise SiteError("konsil-client listen", expected="to be the only one", got="another for this folder")
        with Listener(
            sources.listen, store, folder, released=lambda counts: tell("association ended", **counts)
        ) as listener:
            tell("listening", port=listener.port, ae_title=sources.listen.ae_title)
            stop.wait()
        tell("stopped", **listener.counts)


@contextmanager
def _quiet_threads() -> Iterator[None]:
    before, threading.excepthook = threading.excepthook, _thread_ended
    try:
        yield
    finally:
        threading.excepthook = before


def _thread_ended(ended: threading.ExceptHookArgs) -> None:
    """A thread of pynetdicom's ended by what a peer did: of that only the kind is told."""
    sys.stderr.write(f"a connection ended by {ended.exc_type.__name__}{os.linesep}")


def _key(folder: Path) -> bytes:
    make_keys(folder)
    return Home(folder).archive_key


def _store(sources: Sources, folder: Path, key: bytes) -> Store:
    return Store(
        folder / sources.folder,
        key,
        largest=sources.largest_object_mb << 20,
        floor=int(sources.free_disk_gb * (1 << 30)),
    )


def _chosen(sources: Sources, name: str) -> tuple[Pacs | Web, ...]:
    chosen = tuple(one for one in sources.all if name in ("", one.name))
    if not chosen:
        known = ", ".join(one.name for one in sources.all) or "none"
        do = "Add a [[pacs]] or [[web]] section, or name one that is there."
        raise InputError("sources.toml", expected=f"a source {name}".strip(), got=known, do=do)
    return chosen


@contextmanager
def _listening(sources: Sources, store: Store, folder: Path) -> Iterator[None]:
    """Our C-STORE server for C-MOVE: ours for the while, or the one that `konsil-client listen` runs."""
    with _alone(folder) as alone, ExitStack() as stack:
        if alone and sources.listen is not None:
            stack.enter_context(Listener(sources.listen, store, folder))
        yield


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Whether no other process listens for this folder; none begins to before the block ends."""
    handle = open_as_owner(folder / "listen.lock", os.O_WRONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        alone = True
    except BlockingIOError:
        alone = False
    try:
        yield alone
    finally:
        os.close(handle)


def _show(reports: list[PullReport], console: Console) -> None:
    table = Table("source", "series", "asked for", "here before", "received", "failed", title="Pull")
    for report in reports:
        counts = (report.series, report.asked, report.here, report.received, report.failed)
        table.add_row(report.source, *map(str, counts))
    console.print(table)
    for report in reports:
        for line in _troubles(report):
            console.print(Text(printable(f"{report.source}: {line}")))


def _troubles(report: PullReport) -> Iterator[str]:
    """What a person has to know beside the counts."""
    for status, count in report.statuses.items():
        yield f"{count} objects failed: {status}"
    if report.given_up:
        yield f"{report.given_up} series were not asked for again, after pulls in vain: --again does"
    if report.unusable:
        yield f"{report.unusable} answers to searches had no proper UID"
    if report.trouble:
        yield f"ended early: {report.trouble}"
