"""Labels from wherever a hospital keeps them: a table, or DICOM structured reports."""

from pathlib import Path

from client.dicom.labels.labels import Labels
from client.dicom.labels.report import read_reports
from client.dicom.labels.table import Layout, read_labels


def read_source(path: Path, key: bytes, layout: Layout | None = None) -> Labels:
    """The labels at `path`: of a folder or a zip, those of the structured reports in it; of a file, those of the table.

    Raises InputError saying what it lacks.
    """
    reports = path.is_dir() or path.suffix.lower() == ".zip"
    return read_reports(path, key) if reports else read_labels(path, key, layout)
