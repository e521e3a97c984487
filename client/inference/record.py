"""evaluation.json: what one evaluation says, in a record that only ever grows."""

from pathlib import Path

import msgspec

from shared.files import write_atomically
from shared.judged import Judged
from shared.study import Study
from shared.wire import Record

#: on what thresholds rest, in words
Judge = str


class Member(Record, frozen=True):
    """One model: hashes in hex; `genuine` only if its signatures were checked up to a pinned root."""

    study: str
    study_hash: str
    run: str
    round: str
    sha256: str
    genuine: bool


class Evaluated(Record, frozen=True):
    """`models` on the `images` of so many `patients`; the other `files` by the reason they are left out for. Of several
    models the outputs were averaged. `hidden`: subgroups of fewer patients than `smallest`, which are not shown."""

    models: tuple[Member, ...]
    #: the first model's, with the evaluation that was asked for here
    study: Study
    judge: Judge
    images: int
    patients: int
    files: int
    skipped: dict[str, int]
    judged: Judged
    groups: dict[str, Judged]
    hidden: tuple[str, ...]
    smallest: int
    versions: dict[str, str]


def write_record(evaluated: Evaluated, folder: Path) -> Path:
    """`folder`/evaluation.json, whole or not at all."""
    path = folder / "evaluation.json"
    write_atomically(path, msgspec.json.format(msgspec.json.encode(evaluated), indent=1) + b"\n")
    return path
