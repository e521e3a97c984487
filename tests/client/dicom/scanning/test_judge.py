from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from client.dicom.labels.table import read_labels
from client.dicom.reasons import Reason
from client.dicom.scanning.catalog import Catalog
from client.dicom.scanning.entry import Entry, place_of
from client.dicom.scanning.judge import judge, repeated_files
from client.dicom.scanning.refresh import refresh
from client.dicom.writing import derived_uid
from shared.study import Input

Write = Callable[..., Path]

KEY = b"k" * 32
ENTRY = Entry(file=b"f" * 16, size=1, mtime_ns=2, inode=3, sop=b"s" * 16, modality="DX", number_of_frames=1)
NONE = frozenset[bytes]()


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog(tmp_path / "c.sqlite") as catalog:
        yield catalog


def spec(**values: Any) -> Input:
    return Input(modalities=("DX", "MG"), size=(8, 8), **values)


def test_the_first_rule_that_speaks_decides() -> None:
    bad = replace(ENTRY, fault="truncated", modality="CT", intent="FOR PROCESSING", number_of_frames=2)
    repeated = frozenset((ENTRY.file,))
    asked = spec(frames="none")
    assert judge(bad, repeated=repeated, spec=asked) is Reason.TRUNCATED
    assert judge(replace(bad, fault=""), repeated=repeated, spec=asked) is Reason.DUPLICATE
    assert judge(replace(bad, fault=""), repeated=NONE, spec=asked) is Reason.WRONG_MODALITY
    assert judge(replace(bad, fault="", modality="MG"), repeated=NONE, spec=asked) is Reason.WRONG_INTENT
    assert judge(replace(ENTRY, number_of_frames=2), repeated=NONE, spec=asked) is Reason.MULTI_FRAME
    assert judge(replace(ENTRY, number_of_frames=2), repeated=NONE, spec=spec()) == ()
    assert judge(replace(bad, fault=""), repeated=NONE) == ()


@pytest.mark.parametrize(
    ("intent", "wanted", "reason"),
    [
        ("", "presentation", None),
        ("FOR PRESENTATION", "presentation", None),
        ("FOR PROCESSING", "presentation", Reason.WRONG_INTENT),
        ("FOR PROCESSING", "processing", None),
        ("FOR PRESENTATION", "processing", Reason.WRONG_INTENT),
        ("", "processing", Reason.WRONG_INTENT),
    ],
)
def test_intent(intent: str, wanted: str, reason: Reason | None) -> None:
    found = judge(replace(ENTRY, intent=intent), repeated=NONE, spec=spec(intent=wanted))
    assert found == (reason or ())


def test_labels_speak_last(write: Write, catalog: Catalog, tmp_path: Path) -> None:
    for number in range(3):
        write(f"{number}.dcm", number)
    rows = [f"{derived_uid('test', 'image', str(n))},{label}\n" for n, label in ((0, "b|a"), (1, "a"), (1, "b"))]
    (tmp_path / "labels.csv").write_text("sop_instance_uid,label\n" + "".join(rows))
    labels = read_labels(tmp_path / "labels.csv", KEY)
    refresh(tmp_path / "archive", catalog, key=KEY)
    found = {place_of(KEY, entry).path: judge(entry, repeated=NONE, labels=labels) for entry in catalog.entries()}
    assert found == {"0.dcm": ("a", "b"), "1.dcm": Reason.LABEL_CONFLICT, "2.dcm": Reason.NO_LABEL}


def test_of_equal_objects_the_first_by_path_is_used(write: Write, catalog: Catalog, tmp_path: Path) -> None:
    for name in ("b/1.dcm", "a/9.dcm", "c.dcm", "A.dcm"):
        write(name, 1)
    write("0.dcm", 1).write_bytes((tmp_path / "archive" / "c.dcm").read_bytes()[:-2])  # not whole: hides nobody
    write("other.dcm", 2)
    refresh(tmp_path / "archive", catalog, key=KEY)
    repeated = repeated_files(catalog, KEY)
    kept = sorted(place_of(KEY, entry).path for entry in catalog.entries() if entry.file not in repeated)
    assert kept == ["0.dcm", "A.dcm", "other.dcm"]


def kept(catalog: Catalog, archive: Path) -> list[str]:
    refresh(archive, catalog, key=KEY)
    repeated = repeated_files(catalog, KEY)
    return sorted(place_of(KEY, entry).path for entry in catalog.entries() if entry.file not in repeated)


def test_a_part_of_a_series_tears_no_holes_into_a_complete_copy(write: Write, catalog: Catalog, tmp_path: Path) -> None:
    for number in (1, 3):
        write(f"a/{number}.dcm", number, SeriesInstanceUID="1.2.1")
    write("a/1 again.dcm", 1, SeriesInstanceUID="1.2.1")
    write("a/1 once more.dcm", 1, SeriesInstanceUID="1.2.1")  # more files, and still no more objects
    for number in (1, 2, 3):
        write(f"b/{number}.dcm", number, SeriesInstanceUID="1.2.2")
    assert kept(catalog, tmp_path / "archive") == ["b/1.dcm", "b/2.dcm", "b/3.dcm"]


def test_of_complete_copies_one_is_used_whole(write: Write, catalog: Catalog, tmp_path: Path) -> None:
    """Though their files lie mixed: neither goes first everywhere."""
    for number in (1, 2, 3, 4):
        names = ("x", "y") if number % 2 else ("y", "x")
        for name, series in zip(names, ("1.2.1", "1.2.2"), strict=True):
            write(f"{number}{name}.dcm", number, SeriesInstanceUID=series)
    assert kept(catalog, tmp_path / "archive") == ["1x.dcm", "2y.dcm", "3x.dcm", "4y.dcm"]


def test_one_object_under_two_patients_is_used_once(write: Write, catalog: Catalog, tmp_path: Path) -> None:
    """Mostly a number was corrected: used twice, one image could be trained on and tested on."""
    write("a.dcm", 1, PatientID="one")
    write("b.dcm", 1, PatientID="two")
    assert kept(catalog, tmp_path / "archive") == ["a.dcm"]
