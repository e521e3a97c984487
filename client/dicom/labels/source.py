"""Labels from wherever a hospital keeps them: a table, or DICOM structured reports."""

from collections.abc import Iterator
from pathlib import Path

from client.dicom.labels.labels import Labels
from client.dicom.labels.mask_table import drawn_beside
from client.dicom.labels.report import read_reports
from client.dicom.labels.table import Layout, read_labels


def read_source(path: Path, key: bytes, layout: Layout | None = None) -> Labels:
    """The labels at `path`: of a folder or a zip, those of the structured reports in it; of a file, those of the table.

    Raises InputError saying what it lacks.
    """
    return read_labels(path, key, layout) if is_table(path) else read_reports(path, key)


def is_table(path: Path) -> bool:
    """Whether it is a file of rows, not a folder or zip of DICOM objects."""
    return not (path.is_dir() or path.suffix.lower() == ".zip")


def kept_beside(path: Path) -> Iterator[Path]:
    """The files that are none of the archive's even if they lie in it: the table at `path`, and the masks it names."""
    if is_table(path):
        yield path
        yield from drawn_beside(path) if path.is_file() else ()
