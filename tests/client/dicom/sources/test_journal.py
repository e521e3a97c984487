"""The journal of pulls: what was, per source and series, without naming any."""

from pathlib import Path

from client.dicom.sources.journal import Journal, Past
from tests.client.dicom.sources.peers import KEY


def test_the_last_word_counts(journal: Journal) -> None:
    assert journal.past("radiology", "1.2.3") is None
    journal.write("radiology", "1.2.3", Past(10, 10, 4, 1))
    journal.write("radiology", "1.2.3", Past(11, 11, 11, 0))
    assert journal.past("radiology", "1.2.3") == Past(11, 11, 11, 0)
    assert journal.past("cloud", "1.2.3") is None
    assert journal.past("radiology", "1.2.4") is None


def test_it_outlives_the_process_and_names_no_series(tmp_path: Path) -> None:
    path = tmp_path / "sources.sqlite"
    with Journal(path, KEY) as journal:
        journal.write("radiology", "1.2.840.4711", Past(1, 1, 1, 0))
    with Journal(path, KEY) as journal:
        assert journal.past("radiology", "1.2.840.4711") == Past(1, 1, 1, 0)
    assert all(b"1.2.840.4711" not in file.read_bytes() for file in tmp_path.iterdir())
    with Journal(path, b"x" * 32) as journal:
        assert journal.past("radiology", "1.2.840.4711") is None
