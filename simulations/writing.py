"""What the writers of simulated archives share: patients by several processes, and labels.csv."""

import csv
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from shared.workers import pool

T = TypeVar("T")
Row = tuple[str | int, ...]


def each_patient(write: Callable[[int], T], patients: int, *, alone: int) -> Iterator[T]:
    """`write` of the patients 0, 1, …, in their order; fewer than `alone` by this process, as starting others takes
    longer. What `write` writes and returns must depend on the patient alone."""
    if patients < alone:
        yield from map(write, range(patients))
        return
    with pool(2) as executor:
        yield from executor.map(write, range(patients), chunksize=8)


def write_labels(archive: Path, columns: Row, rows: Iterable[Row]) -> None:
    """labels.csv of `archive`."""
    with (archive / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        table.writerows(rows)
