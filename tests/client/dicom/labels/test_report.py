"""Reports are written by highdicom, an independent implementation, and read by ours."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from client.dicom.labels import content
from client.dicom.labels.labels import Remark
from client.dicom.labels.report import read_reports
from client.dicom.reasons import Reason
from client.dicom.scanning.entry import Entry
from client.dicom.writing import write_object
from shared.errors import InputError
from tests.client.dicom.labels.reports import (
    CONTAINS,
    EDEMA,
    FINDING,
    FINDINGS,
    KEY,
    NOTHING,
    PNEUMONIA,
    basic,
    container,
    entries_of,
    found,
    group,
    item,
    measured,
    pictures,
    report_writer,
    uid,
)


@pytest.fixture
def images(make: Callable[..., Dataset]) -> dict[str, Dataset]:
    return pictures(make)


@pytest.fixture
def entries(entry_of: Callable[..., Entry]) -> dict[str, Entry]:
    return entries_of(entry_of)


@pytest.fixture
def report(tmp_path: Path) -> Callable[..., Dataset]:
    return report_writer(tmp_path)


def test_unverified_reports_count_only_if_asked_for(
    tmp_path: Path, report: Any, images: dict[str, Dataset], entries: dict[str, Entry]
) -> None:
    report("one", measured(group(images["a"])), images["a"], verified=False)
    report("two", measured(group(images["b"])), images["b"], is_final=False)
    report("zero", measured(group(images["c"])), images["c"])
    assert found(tmp_path, entries) == NOTHING | {"c": ("Pneumonia",)}
    assert read_reports(tmp_path / "reports", KEY).remarks == {Remark.UNVERIFIED: (1, 2)}
    assert found(tmp_path, entries, unverified=True) == NOTHING | dict.fromkeys("abc", ("Pneumonia",))


def test_a_later_version_replaces_the_earlier(
    tmp_path: Path, report: Any, images: dict[str, Dataset], entries: dict[str, Entry]
) -> None:
    first = report("first", measured(group(images["a"])), images["a"])
    report("again", measured(group(images["a"], finding=EDEMA)), images["a"], previous_versions=[first])
    assert found(tmp_path, entries)["a"] == ("Pulmonary edema",)
    assert read_reports(tmp_path / "reports", KEY).remarks == {Remark.SUPERSEDED: (2,)}


def test_reports_that_differ_are_a_conflict_or_add_up(
    tmp_path: Path, report: Any, images: dict[str, Dataset], entries: dict[str, Entry]
) -> None:
    report("one", measured(group(images["a"])), images["a"])
    report("two", measured(group(images["a"], finding=EDEMA)), images["a"])
    assert found(tmp_path, entries)["a"] is Reason.LABEL_CONFLICT
    assert found(tmp_path, entries, several=True)["a"] == ("Pneumonia", "Pulmonary edema")


def test_deflated_reports_and_other_files(
    tmp_path: Path, report: Any, images: dict[str, Dataset], entries: dict[str, Entry]
) -> None:
    report("one", measured(group(images["a"])), images["a"], syntax=DeflatedExplicitVRLittleEndian)
    write_object(tmp_path / "reports" / "image.dcm", images["a"])
    (tmp_path / "reports" / "notes.txt").write_text("Pneumonia")
    labels = read_reports(tmp_path / "reports", KEY)
    assert (labels.of(entries["a"]), labels.remarks) == (("Pneumonia",), {})
    assert uid("a") not in repr(labels)


def test_a_tree_without_end_is_unreadable(
    tmp_path: Path, report: Any, images: dict[str, Dataset], entries: dict[str, Entry]
) -> None:
    deep = item(CONTAINS, FINDING, PNEUMONIA)
    for _ in range(content.DEPTH):
        deep = container(FINDINGS, deep, relation=CONTAINS)
    report("deep", basic(deep), images["a"])
    report("good", measured(group(images["b"])), images["b"])
    assert found(tmp_path, entries) == NOTHING | {"b": ("Pneumonia",)}
    assert read_reports(tmp_path / "reports", KEY).remarks == {Remark.UNREADABLE: (1,)}


def test_a_tree_of_too_many_items_is_unreadable(
    tmp_path: Path, report: Any, images: dict[str, Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "ITEMS", 3)
    report("wide", basic(*(item(CONTAINS, FINDING, PNEUMONIA) for _ in range(3))), images["a"])
    assert read_reports(tmp_path / "reports", KEY).remarks == {Remark.UNREADABLE: (1,)}


@pytest.mark.parametrize("cut", [200, 900, -40])
def test_a_cut_report_says_nothing_wrong(
    tmp_path: Path, report: Any, images: dict[str, Dataset], entries: dict[str, Entry], cut: int
) -> None:
    report("one", measured(group(images["a"])), images["a"])
    path = tmp_path / "reports" / "one.dcm"
    path.write_bytes(path.read_bytes()[:cut])
    assert found(tmp_path, entries)["b"] is Reason.NO_LABEL


def test_no_report_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected DICOM structured reports, got none"):
        read_reports(tmp_path, KEY)
