"""One entry of a catalog, and tables to join it with."""

from collections.abc import Callable
from pathlib import Path

import pytest

from client.dicom.keys import file_key, short_key
from client.dicom.scanning.entry import Entry

KEY = b"k" * 32
WriteTable = Callable[..., Path]


def make_entry(sop: str = "1.1", series: str = "1.2", study: str = "1.3", patient: str = "P1") -> Entry:
    """An entry as the scan makes it, its file at a/<sop>.dcm."""
    return Entry(
        file=file_key(KEY, f"a/{sop}.dcm"),
        size=1,
        mtime_ns=1,
        inode=1,
        sop=short_key(KEY, "sop", sop.encode()),
        series=short_key(KEY, "series", series.encode()),
        study=short_key(KEY, "study", study.encode()),
        accession=short_key(KEY, "accession", b"A1"),
        bare_patient=short_key(KEY, "bare-patient", patient.encode()),
    )


@pytest.fixture
def entry() -> Entry:
    """`make_entry()`."""
    return make_entry()


@pytest.fixture(scope="session")
def entry_of() -> Callable[..., Entry]:
    """`make_entry`."""
    return make_entry


@pytest.fixture
def table(tmp_path: Path) -> WriteTable:
    """Writes a label file: table("patient_id,label\\nP1,yes\\n") → its path."""

    def write(text: str, encoding: str = "utf-8") -> Path:
        path = tmp_path / "labels.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write
