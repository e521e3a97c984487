"""A list of past spending that people wrote, in TOML: what patients were exposed to before this ledger, or elsewhere.

    version = 1

    [[spent]]
    study = "covid-2024"          # as it shall be shown
    at = 2024-05-01               # when it was
    patients = "covid.csv"        # a table beside this file with the column patient_id, and issuer if there are several
    sampling_rate = 0.02          # either the steps of the training …
    noise_multiplier = 1.1
    steps = 3000

    [[spent]]
    study = "registry"
    at = 2023-11-15
    everyone = true               # every patient of this hospital, now and to come
    epsilon = 1.5                 # … or only what was stated of it
    delta = 1e-6

Guarantees: an entry is charged once, however often it is given and however the file with the patients is called; a
PatientID is hashed the moment it is read, and is in no message.
"""

from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta
from msgspec.structs import replace

from client.dicom.keys import patient_key
from client.dicom.labels.rows import open_table
from client.ledger.past import Past, Spent
from client.ledger.records import Purpose
from shared.accounting import Event, SampledGaussian, Stated
from shared.errors import InputError
from shared.text import is_plain
from shared.toml import read_toml
from shared.wire import Record, digest

#: Which of the archive's patients have this PatientID (bytes), under whichever issuer: their keyed hashes.
Known = Callable[[bytes], frozenset[bytes]]
Positive = Annotated[float, Meta(gt=0, lt=1e9)]
Hex = Annotated[str, Meta(pattern=r"\A([0-9a-f]{64})?\Z")]


class Entry(Record, frozen=True):
    """One `[[spent]]`. `study_hash`: of a study of Konsil's, in hexadecimal, so that its limit counts this too;
    `honest`: how many hospitals' noise it takes to make `noise_multiplier`."""

    study: Annotated[str, Meta(min_length=1, max_length=128)]
    at: date
    study_hash: Hex = ""
    patients: Annotated[str, Meta(max_length=255)] = ""
    everyone: bool = False
    sampling_rate: Annotated[float, Meta(gt=0, le=1)] | None = None
    noise_multiplier: Positive | None = None
    steps: Annotated[int, Meta(ge=1, le=10**9)] | None = None
    honest: Annotated[int, Meta(ge=1, le=10**6)] = 1
    epsilon: Positive | None = None
    delta: Annotated[float, Meta(ge=0, lt=1)] | None = None

    def __post_init__(self) -> None:
        if not is_plain(self.study):
            raise ValueError("a study's name without control characters")
        if bool(self.patients) == self.everyone:
            raise ValueError("either patients, or everyone = true")
        sampled = (self.sampling_rate, self.noise_multiplier, self.steps)
        stated = (self.epsilon, self.delta)
        given = [[value is not None for value in values] for values in (sampled, stated)]
        if not ((all(given[0]) and not any(given[1])) or (all(given[1]) and not any(given[0]))):
            raise ValueError("either sampling_rate, noise_multiplier and steps, or epsilon and delta")

    @property
    def event(self) -> Event:
        """What it says was spent."""
        if self.sampling_rate is not None and self.noise_multiplier is not None and self.steps is not None:
            return SampledGaussian(
                sampling_rate=self.sampling_rate,
                noise_multiplier=self.noise_multiplier,
                steps=self.steps,
                honest=self.honest,
            )
        return Stated(epsilon=self.epsilon or 0.0, delta=self.delta or 0.0)


class Listed(Record, frozen=True):
    """The whole file."""

    version: Literal[1]
    spent: tuple[Entry, ...]

    def __post_init__(self) -> None:
        if not self.spent:
            raise ValueError("at least one [[spent]]")


def read_list(path: Path, key: bytes, known: Known) -> tuple[Past, ...]:
    """The entries of the file at `path`, their patients named under the archive's `key`. A PatientID without an issuer
    means everybody who has it, by `known`, and whoever will have it without an issuer.

    Raises InputError naming what is wrong, in this file or a table of patients.
    """
    times, found = Counter[bytes](), list[Past]()
    for entry in read_toml(Listed, path).spent:
        given = _patients(path.parent / entry.patients, key) if entry.patients else ()
        unnamed = replace(entry, patients="a table") if given else entry
        same = digest("konsil/ledger/listed/v1", unnamed, *(named for named, _ in given))
        plan = digest("konsil/ledger/listed-again/v1", same, times[same].to_bytes(8, "big"))
        times[same] += 1  # two equal entries in one file are two
        purpose = Purpose(plan, entry.study, _hash(entry), f"imported: {entry.study}", 0, "imported")
        patients = {one for named, bare in given for one in ({named} | (known(bare) if bare else frozenset()))}
        spent = Spent(entry.event, purpose, f"{entry.at.isoformat()}T00:00:00Z")
        found.append(Past(None if entry.everyone else sorted(patients), (spent,)))
    return tuple(found)


def _hash(entry: Entry) -> bytes:
    if entry.study_hash:
        return bytes.fromhex(entry.study_hash)
    return digest("konsil/ledger/listed-study/v1", entry.study.encode())


def _patients(path: Path, key: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Sorted (keyed hash, PatientID where no issuer is given) of the table at `path`. Raises InputError."""
    found = set[tuple[bytes, bytes]]()
    with open_table(path) as table:
        number, issuer = table.place("patient_id"), table.place("issuer")
        if number is None:
            raise InputError(f"table {path.name}", expected="a column patient_id", got="none", do="Name it so.")
        for row in table.rows:
            bare, by = row.cells[number].encode(), row.cells[issuer].encode() if issuer is not None else b""
            if not bare:
                raise InputError(
                    f"table {path.name}: row {row.number}",
                    expected="a patient_id",
                    got="none",
                    do="Fill it or delete it.",
                )
            found.add((patient_key(key, by, bare), b"" if by else bare))
    if not found:
        raise InputError(f"table {path.name}", expected="at least one patient", got="none", do="Add them.")
    return tuple(sorted(found))
