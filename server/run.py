"""A run in its folder, from its first start to its report.

run.json                 the run's id and how often it was started
FILE                     what the study's `model.init` names, if it does (server/initial.py)
asked.json               what it is for, where that is not a model
checkpoints/             one file per round
counts.json              summed counts of the held-out patients
result.json · report.html · model-card.md · model-card.html · model.safetensors
"""

import secrets
from dataclasses import dataclass
from pathlib import Path

import msgspec

from server.aggregate import Aggregator
from server.checkpoints import Checkpoint, Checkpoints, Memory
from server.collect import Link
from server.coordinator import Coordinator, Outcome
from server.federation import Federation
from server.initial import start_of
from server.observer import Observer
from server.open_plan import Desk
from server.receipts import Receipts
from server.reception import Owner
from server.report.build import result_of
from server.report.result import Purpose, Result, write_result
from server.strategies.choose import strategy_of
from shared.errors import InputError, OperatorError
from shared.files import write_atomically
from shared.layout import layout_for
from shared.study import Study, study_hash
from shared.weights import save_weights
from shared.wire import Record, read_json

#: The file that says what a run is for.
ASKED = "asked.json"
#: The file of the summed counts.
COUNTS = "counts.json"


class RunId(Record, frozen=True):
    """What run.json holds."""

    run: str
    starts: int


class SummedCounts(Record, frozen=True):
    """What counts.json holds: summed counts of the held-out patients (shared/tasks), () where there are none."""

    validation: tuple[int, ...]
    test: tuple[int, ...]


class Asked(Record, frozen=True):
    """What asked.json holds."""

    purpose: Purpose


@dataclass(frozen=True)
class Start:
    """One start of a run: nothing of it has been sent yet."""

    folder: Path
    study: Study
    identity: RunId
    purpose: Purpose = "model"

    @property
    def begin(self) -> Checkpoint:
        """What it goes on from. Read when asked for, and not kept here: it is as long as the model, or three."""
        newest = Checkpoints(self.folder / "checkpoints").newest()
        return newest or _fresh(self.study, self.identity.run, self.folder)


def open_run(folder: Path, study: Study, *, resume: bool, purpose: Purpose = "model") -> Start:
    """A new run of `study` in `folder`, or the one to go on with; after a survey, for a model too.

    Raises InputError if there is a run already and `resume` is not set, or none and it is; OperatorError for a
    damaged checkpoint.
    """
    path, checkpoints = folder / "run.json", Checkpoints(folder / "checkpoints")
    if resume:
        known = _read_id(path, checkpoints.resume(study_hash(study).hex()).memory.run)
        start = enter_run(folder, study, known.run, starts=known.starts + 1, purpose=purpose)
    else:
        if not checkpoints.empty:
            raise InputError(
                str(folder),
                expected="a folder without a run",
                got="one with a run",
                do="Use --resume or another --out.",
            )
        start = enter_run(folder, study, new_run(study), starts=1, purpose=purpose)
    write_atomically(path, msgspec.json.encode(start.identity))
    return start


def ask(folder: Path, purpose: Purpose) -> None:
    """Write down in `folder`, which waits for its turn, what its run is for."""
    write_atomically(folder / ASKED, msgspec.json.encode(Asked(purpose=purpose)))


def asked(folder: Path) -> Purpose:
    """What the run in `folder` is for; a model, where nothing is said. Raises OperatorError for a damaged file."""
    path = folder / ASKED
    try:
        return read_json(path.read_bytes(), Asked).purpose if path.exists() else "model"
    except (OSError, msgspec.DecodeError) as error:
        do = "Queue the study anew."
        raise OperatorError(str(path), expected="what the run is for", got=str(error), do=do) from None


def new_run(study: Study) -> str:
    """A name no other run has."""
    return f"{study.name}-{secrets.token_hex(8)}"


def enter_run(folder: Path, study: Study, run: str, *, starts: int, purpose: Purpose = "model") -> Start:
    """Go on with `run` in `folder` from its last checkpoint, or from the beginning where there is none.

    `starts` counts its starts, this one included, never the same twice. Raises OperatorError for a damaged checkpoint.
    """
    Checkpoints(folder / "checkpoints").newest()  # a damaged one is found before the run begins
    return Start(folder, study, RunId(run=run, starts=starts), purpose)


def _read_id(path: Path, run: str) -> RunId:
    """The id and starts of `run`. Raises OperatorError where run.json is gone or damaged: how often the run was started
    decides which attempts no hospital has seen."""
    try:
        known = read_json(path.read_bytes(), RunId)
    except (OSError, msgspec.DecodeError) as error:
        raise OperatorError(
            str(path),
            expected="the id of the run, as it was written",
            got=str(error),
            do=f'Write {{"run":"{run}","starts":N}} with N above the number of starts so far.',
        ) from None
    if known.run != run:
        raise OperatorError(str(path), expected=f"run {run} of the checkpoints", got=known.run, do="Restore the file.")
    return known


def _fresh(study: Study, run: str, folder: Path) -> Checkpoint:
    layout, weights = start_of(study, folder)
    state = strategy_of(study, layout).init(weights)
    memory = Memory(run=run, study_hash=study_hash(study).hex(), clip=state.clip)
    return Checkpoint(memory, state, weights)


def conduct(
    start: Start, link: Link, federation: Federation, observer: Observer, *, owner: Owner = lambda _node: ""
) -> Result:
    """Run to the end; the model, result.json and report.html are on disk when this returns."""
    study, folder = start.study, start.folder
    invitation = federation.invitation(start.identity.run, study)
    receipts = Receipts(folder / "receipts.jsonl")
    desk = Desk(folder / "plan.bin")
    aggregator = Aggregator(
        link,
        invitation,
        federation.roster,
        federation.operator,
        receipts=receipts,
        desk=desk,
        owner=owner,
        folder=folder,
    )
    checkpoints = Checkpoints(folder / "checkpoints")
    coordinator = Coordinator(aggregator, checkpoints, observer, start=start.identity.starts, purpose=start.purpose)
    outcome = coordinator.run(start.begin)
    _write_model(folder, study, outcome)
    _write_counts(folder, outcome)
    result = result_of(outcome, study, aggregator, start.purpose)
    publish(result, folder)
    return result


def publish(result: Result, folder: Path) -> None:
    """Write result.json, the model card and report.html."""
    from server.report.card import write_cards  # noqa: PLC0415  with the report
    from server.report.html import write_report  # noqa: PLC0415  matplotlib: 31 MB that no round needs

    write_result(result, folder)
    if result.judged is not None:
        write_cards(result, folder)
    write_report(result, folder)


def read_counts(folder: Path) -> SummedCounts:
    """The summed counts of the run in `folder`. Raises OperatorError for a damaged file or none."""
    path = folder / COUNTS
    try:
        return read_json(path.read_bytes(), SummedCounts)
    except (OSError, msgspec.DecodeError) as error:
        raise OperatorError(str(path), expected="the counts of a run", got=str(error), do="Run it again.") from None


def _write_counts(folder: Path, outcome: Outcome) -> None:
    """The sums that all figures are made of: folds and models can be judged together by them."""
    sums = (found.everybody if found is not None else () for found in (outcome.validation, outcome.test))
    write_atomically(folder / COUNTS, msgspec.json.encode(SummedCounts(*sums)))


def _write_model(folder: Path, study: Study, outcome: Outcome) -> None:
    if outcome.test is None:
        return
    memory = outcome.checkpoint.memory
    metadata = {"run": memory.run, "round": str(memory.best_round), "study": msgspec.json.encode(study).decode()}
    if outcome.validation is not None:  # whoever judges the model elsewhere must use the same thresholds
        metadata["validation"] = msgspec.json.encode(outcome.validation.everybody).decode()
    write_atomically(folder / "model.safetensors", save_weights(layout_for(study), outcome.checkpoint.best, metadata))
