"""One file per round: weights and everything the coordinator must remember, whole or not there.

Guarantees: a checkpoint is on disk before the next round begins; a torn or changed one is found by its digest and never
used; going on from round k's file gives the run that was never stopped (the interrupted round is trained anew).
"""

import hashlib
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from server.report.result import Images, LeftOut, RoundRow, SurveyFigures
from server.strategies.base import State
from shared.errors import InputError, OperatorError
from shared.files import replacing
from shared.messages.shown import Spent
from shared.wire import Record, read_json

#: Older files are removed; one more than needed, in case the newest is damaged.
KEPT = 2
#: Names of what an optimiser remembers, followed by a number.
SLOT = "slot"


class Memory(Record, frozen=True):
    """What the coordinator knows after `round` besides weights."""

    run: str
    study_hash: str
    round: int = 0
    mass: float = 0.0
    best_round: int = 0
    #: how good it is (shared/judged.goodness); None where there is no figure
    best: float | None = None
    #: summed validation counts of the best model
    best_counts: tuple[int, ...] = ()
    #: evaluations since the best
    stale: int = 0
    class_weights: tuple[float, ...] = ()
    images: Images | None = None
    rows: tuple[RoundRow, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    spent: dict[str, Spent] = msgspec.field(default_factory=dict)
    #: false while `round`, whose sum is in the weights, waits for its evaluation
    judged: bool = True
    survey: SurveyFigures | None = None
    #: of an optimiser at the coordinator
    steps: int = 0
    clip: float = 0.0
    #: the weight of the largest sum so far
    weight: int = 0
    #: digest of the model that the next vote compares with, in hex; empty before the first
    voted: str = ""


class Checkpoint(msgspec.Struct, frozen=True):
    """A round's end: the strategy's state, the best model so far [d], and the memory beside them."""

    memory: Memory
    state: State
    best: NDArray[np.float32]


class Checkpoints:
    """The checkpoints of one run, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, checkpoint: Checkpoint) -> None:
        """Write the round's file, then forget the oldest."""
        state = checkpoint.state
        tensors = {"best": checkpoint.best, "result": state.result, "weights": state.weights}
        tensors |= {f"{SLOT}{number}": slot for number, slot in enumerate(state.slots)}
        memory = msgspec.json.encode(checkpoint.memory).decode()
        metadata = {"memory": memory, "digest": _digest(tensors, memory)}
        with replacing(self._path(checkpoint.memory.round)) as draft:
            try:
                save_file(tensors, draft, metadata)  # from the arrays themselves: no second copy of three models
            except SafetensorError as error:  # how it tells of a full disk
                raise OSError(str(error)) from None
        for path in self._files()[:-KEPT]:
            path.unlink()

    @property
    def empty(self) -> bool:
        """Whether no round has ended yet."""
        return not self._files()

    def last_round(self) -> int:
        """The number of the last round that ended; 0 before the first."""
        return max((int(path.stem.removeprefix("round-")) for path in self._files()), default=0)

    def newest(self) -> Checkpoint | None:
        """The last round's checkpoint, None if there is none. Raises OperatorError if it is damaged."""
        files = self._files()
        return _read(files[-1]) if files else None

    def state_after(self, round_: int) -> State:
        """The strategy's state after `round_`, the one before the newest. Raises OperatorError for a lost file."""
        path = self._path(round_)
        if not path.exists():
            raise OperatorError(f"checkpoint {path}", expected="the round before", got="none", do="Start a new run.")
        return _read(path).state

    def resume(self, study_hash: str) -> Checkpoint:
        """The newest checkpoint of this very study; raises InputError if there is none to go on from."""
        found = self.newest()
        if found is None:
            raise InputError(
                str(self._folder), expected="a checkpoint", got="none", do="Start the run without --resume."
            )
        if found.memory.study_hash != study_hash:
            raise InputError(
                str(self._folder),
                expected=f"a run of study {study_hash[:16]}",
                got=f"one of {found.memory.study_hash[:16]}",
                do="Restore the study file, or start a new run in another folder.",
            )
        return found

    def _path(self, round_: int) -> Path:
        return self._folder / f"round-{round_:05d}.safetensors"

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("round-*.safetensors"))


def _read(path: Path) -> Checkpoint:
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
        if metadata["digest"] != _digest(tensors, metadata["memory"]):
            raise ValueError("its digest does not match")
        memory = read_json(metadata["memory"].encode(), Memory)
        slots = tuple(tensors[name] for name in sorted(tensors) if name.startswith(SLOT))
        state = State(
            tensors["weights"], tensors["result"], memory.mass, slots, memory.steps, memory.clip, memory.weight
        )
        return Checkpoint(memory, state, tensors["best"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise OperatorError(
            f"checkpoint {path}",
            expected="the file as it was written",
            got=f"a damaged one ({error})",
            do="Delete it: the run then goes on from the round before.",
        ) from None


def _digest(tensors: dict[str, NDArray[np.float32]], memory: str) -> str:
    state = hashlib.sha256(memory.encode())
    for name in sorted(tensors):
        state.update(np.ascontiguousarray(tensors[name]).data)
    return state.hexdigest()
