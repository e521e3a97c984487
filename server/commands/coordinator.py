"""konsil-server up, run, status, cancel."""

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from server.control import answers
from server.history import History, RunLine
from server.home import ServerHome
from server.initial import bring
from server.nodes import NodeLine, read_nodes
from server.observer import RunFinished
from server.progress import Progress
from server.report.result import Purpose
from server.run import ask, new_run
from server.text import printable
from shared.accounting import noise_multiplier
from shared.errors import InputError, OperatorError
from shared.files import write_atomically
from shared.layout import layout_for
from shared.study import Study, read_study
from shared.supervise import Program, python, stop_on_signals, supervise
from shared.wire import Record

DirOption = Annotated[Path, typer.Option("--dir", envvar="KONSIL_DIR", help="The coordinator's folder.")]
HERE = Path()
#: Seconds between looks at a run that is followed.
FOLLOW_S = 0.5
#: glibc's malloc gives every block from 1 MB on back when it is freed; else it keeps hundreds of MB in gaps. For the
#: coordinator only: its blocks are models, few and large. Training would be slower.
LEAN = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20), "MALLOC_ARENA_MAX": "2"}


def up(dir_: DirOption = HERE) -> None:
    """Coordinate: start and watch the SuperLink, the queue of runs and the page until stopped."""
    home = ServerHome(dir_.expanduser().resolve())
    _ = home.config, home.federation.roster  # what is wrong with them is said before anything starts
    flower = LEAN | {"FLWR_HOME": str(home.path / "flower")}
    path = str(home.path)
    programs = (
        Program("superlink", python("server.superlink", path), env=flower, stale=_Renewed(home), grace_s=15.0),
        Program("conductor", python("server.conductor", path), env=flower, grace_s=5.0),
        Program("page", python("server.web", path), stale=_Renewed(home), grace_s=5.0),
    )
    supervise(programs, stop=stop_on_signals())


class _Renewed:
    """Says once, for each new certificate, that it is there: when no run is disturbed by a restart."""

    def __init__(self, home: ServerHome) -> None:
        self._home, self._history = home, History(home.history)
        self._read = self._written()

    def __call__(self) -> bool:
        """Whether the program is to be started anew."""
        if self._written() == self._read or self._history.next() is not None:
            return False
        self._read = self._written()
        return True

    def _written(self) -> int:
        return (self._home.tls / "server.pem").stat().st_mtime_ns


def run(
    study: Annotated[Path | None, typer.Argument(help="The study file.")] = None,
    dir_: DirOption = HERE,
    resume: Annotated[str, typer.Option(help="Go on with this stopped or failed run instead.")] = "",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow it to its end.")] = True,
    survey: Annotated[bool, typer.Option("--survey", help="Only survey what hospitals hold; train nothing.")] = False,
) -> None:
    """Queue a run of STUDY, and follow it. Interrupting this leaves the run running."""
    home = ServerHome(dir_.expanduser().resolve())
    history, console = History(home.history), Console()
    if (study is None) == (not resume):
        raise InputError("run", expected="a study file, or --resume RUN", got="both or neither", do="Give one.")
    if survey and resume:
        raise InputError("run", expected="--survey with a study file", got="with --resume", do="Give one.")
    name = resume or queue_file(home, history, study or Path(), "survey" if survey else "model")
    if resume:
        history.requeue(resume)
    console.print(f"queued: run {name}", highlight=False)
    if not answers(home):
        console.print("the coordinator is not up: it starts with `konsil-server up`")
    if wait:
        follow(home, history, name, console)


def queue_file(home: ServerHome, history: History, path: Path, purpose: Purpose) -> str:
    """A new run of the study in the file at `path`; as `enqueue`."""
    return enqueue(home, history, read_study(path), path.read_bytes(), path.parent, purpose=purpose)


def enqueue(
    home: ServerHome,
    history: History,
    study: Study,
    source: bytes,
    beside: Path,
    *,
    purpose: Purpose = "model",
) -> str:
    """A new run of `study`, whose text is `source`; other files that it names lie `beside`. Raises InputError for what
    cannot work, before any hospital is asked."""
    check(home, study)
    name = new_run(study)
    write_atomically(home.runs / name / "study.toml", source)
    bring(study, beside, home.runs / name)
    if purpose != "model":
        ask(home.runs / name, purpose)
    history.enqueue(name, study)
    return name


def check(home: ServerHome, study: Study) -> None:
    """Raise InputError for a study that cannot work here."""
    layout_for(study)
    noise_multiplier(study)
    members = len(home.federation.roster.entries)
    if members < study.federation.min_sites:
        raise InputError(
            "federation",
            expected=f"at least federation.min_sites = {study.federation.min_sites} hospitals",
            got=f"{members}",
            do="Admit more, or lower it in the study.",
        )


def follow(home: ServerHome, history: History, name: str, console: Console) -> None:
    """Show the run until it is over. Raises OperatorError unless it finished."""
    seen = 0
    with Progress(console) as progress:
        while (line := history.run(name)).state in ("queued", "running"):
            seen = _show(history, name, seen, progress)
            time.sleep(FOLLOW_S)
        _show(history, name, seen, progress)
    if line.state != "finished":
        raise OperatorError(f"run {name} {line.state}", got=line.because, do=f"konsil-server run --resume {name}")
    model = f"   model: {home.models / name}" if (home.models / name).exists() else ""
    console.print(f"report: {home.runs / name / 'report.html'}{model}", highlight=False, soft_wrap=True)


def _show(history: History, name: str, seen: int, progress: Progress) -> int:
    for moment in history.events(name, seen):
        if not isinstance(moment.event, RunFinished) or history.run(name).state != "queued":
            progress.notice(moment.event)
        seen = moment.id
    return seen


def cancel(name: Annotated[str, typer.Argument(metavar="RUN")], dir_: DirOption = HERE) -> None:
    """End a queued or running run."""
    History(ServerHome(dir_.expanduser().resolve()).history).cancel(name)
    Console().print(f"cancelled: run {name}", highlight=False)


class Status(Record, frozen=True):
    """What `status --json` prints."""

    up: bool
    hospitals: dict[str, NodeLine | None]
    runs: tuple[RunLine, ...]


def status(
    dir_: DirOption = HERE,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
) -> None:
    """Who is connected, and what runs. Exit 0 if the coordinator is up, 1 if not."""
    home = ServerHome(dir_.expanduser().resolve())
    found = status_of(home)
    if json:
        sys.stdout.write(msgspec.json.encode(found).decode() + os.linesep)
    else:
        _print(found, Console())
    raise typer.Exit(0 if found.up else 1)


def status_of(home: ServerHome) -> Status:
    """The status now; who is online is known only while the coordinator is up."""
    is_up = answers(home)
    nodes = read_nodes(home) if is_up else {}
    names = [entry.name for entry in home.federation.roster.entries]
    return Status(up=is_up, hospitals={name: nodes.get(name) for name in names}, runs=History(home.history).runs()[:10])


def _print(found: Status, console: Console) -> None:
    console.print("coordinator: up" if found.up else "coordinator: DOWN (start it with `konsil-server up`)")
    hospitals = Table("hospital", "connected", "since")
    for name, node in found.hospitals.items():
        hospitals.add_row(name, "yes" if node and node.online else "NO", node.since if node else "")
    runs = Table("run", "state", "created", "starts", "because")
    for line in found.runs:
        runs.add_row(line.run, line.state, line.created, str(line.starts), printable(line.because, 200))
    console.print(hospitals, runs)
