"""What the scan says of each series of an archive, as an administrator would read it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from client.cli import app
from client.dicom.labels.table import read_labels
from client.dicom.reasons import Reason
from client.dicom.scanning.catalog import Catalog
from client.dicom.scanning.scan import scan
from client.dicom.series import Scans, Series, describe_all, scans
from client.dicom.writing import derived_uid
from tests.client.dicom.archives import KEY, keep
from tests.client.dicom.geometry.series import line, multi_frame, series


def lines(archive: Path, table: str = "") -> dict[str, Series]:
    """The lines of `archive` by Series Instance UID."""
    labels = None
    if table:
        (archive.parent / "labels.csv").write_text(table)
        labels = read_labels(archive.parent / "labels.csv", KEY)
    with Catalog(archive.parent / "catalog.sqlite") as catalog:
        scan(archive, catalog, key=KEY, labels=labels)
        return {found.series_uid: found for found in describe_all(catalog, KEY, labels)}


def only(archive: Path, table: str = "") -> Series:
    (found,) = lines(archive, table).values()
    return found


def test_a_volume_has_shape_affine_and_spacing_in_one_order(tmp_path: Path) -> None:
    keep(tmp_path / "a", series(line(5)))
    found = only(tmp_path / "a")
    assert (found.status, found.reason, found.shape) == ("usable", "", (5, 4, 6))
    assert found.spacing == (2.0, 0.5, 0.5)
    assert (found.axes, found.space, found.modality) == ("slice,row,column", "LPS", "CT")
    assert found.series_uid == derived_uid("test", "series", "1")
    expected = np.array([[0, 0, 0.5, -100], [0, 0.5, 0, -50], [2, 0, 0, 10], [0, 0, 0, 1]])
    assert np.array_equal(np.array(found.affine), expected)


CASES: dict[str, tuple[Callable[[], Any], str, Reason]] = {
    "missing slices": (lambda: series([*line(3), *line(3, start=30)]), "images", Reason.MISSING_SLICES),
    "no position": (lambda: series(line(3), ImagePositionPatient=None), "images", Reason.NO_GEOMETRY),
    "one slice": (lambda: series(line(1)), "images", Reason.TOO_FEW_SLICES),
    "two images at each place": (lambda: series([*line(3), *line(2)]), "images", Reason.SAME_POSITION),
    "burned in": (lambda: series(line(3), BurnedInAnnotation="YES"), "left_out", Reason.BURNED_IN),
    "localizer": (
        lambda: series(line(3), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        "left_out",
        Reason.LOCALIZER,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_makes_no_volume_says_why(tmp_path: Path, case: str) -> None:
    make, status, reason = CASES[case]
    keep(tmp_path / "a", make())
    found = only(tmp_path / "a")
    assert (found.status, found.reason) == (status, reason.value)


def test_a_localizer_still_says_where_it_lies(tmp_path: Path) -> None:
    keep(tmp_path / "a", series(line(1), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]))
    found = only(tmp_path / "a")
    assert found.shape == (1, 4, 6)
    assert np.array(found.affine)[:3, 3].tolist() == [-100, -50, 10]


def test_a_localizer_in_a_series_costs_itself_only(tmp_path: Path) -> None:
    slices = series(line(4))
    slices[0].ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    keep(tmp_path / "a", slices)
    found = only(tmp_path / "a")
    assert (found.status, found.shape, found.usable, dict(found.faults)) == ("usable", (3, 4, 6), 3, {"localizer": 1})


def test_a_radiograph_needs_no_place(tmp_path: Path) -> None:
    keep(tmp_path / "a", series(line(1), ImagePositionPatient=None), Modality="DX")
    found = only(tmp_path / "a")
    assert (found.status, found.affine, found.shape) == ("usable", None, (1, 4, 6))


def test_a_copy_is_counted_and_used_once(tmp_path: Path) -> None:
    keep(tmp_path / "a", series(line(3)))
    (tmp_path / "a" / "copy.dcm").write_bytes((tmp_path / "a" / "1-002.dcm").read_bytes())
    found = only(tmp_path / "a")
    assert (found.status, found.shape, found.files, dict(found.faults)) == ("usable", (3, 4, 6), 4, {"duplicate": 1})


def test_frames_of_one_object_are_a_volume(tmp_path: Path) -> None:
    keep(tmp_path / "a", [multi_frame(line(5))])
    found = only(tmp_path / "a")
    assert (found.status, found.shape, found.files, found.frames) == ("usable", (5, 4, 6), 1, 5)


def test_labels_of_a_series_are_those_its_files_agree_on(tmp_path: Path) -> None:
    for name in "123":
        keep(tmp_path / "a", series(line(2)), series=name)
    uid = {name: derived_uid("test", "series", name) for name in "123"}
    slice_uid = derived_uid("test", "slice", "3", "1")
    table = f"series_uid,sop_uid,label\n{uid['1']},,edema|nodule\n{uid['3']},,clear\n,{slice_uid},nodule\n"
    found = lines(tmp_path / "a", table)
    assert [found[uid[name]].label for name in "123"] == ["edema|nodule", None, None]


def test_json_is_one_line_per_series_and_nothing_else(tmp_path: Path) -> None:
    keep(tmp_path / "a", series(line(3)), series="1")
    keep(tmp_path / "a", series(line(3)), series="2")
    (tmp_path / "a" / "notes.txt").write_text("not DICOM")
    done = CliRunner().invoke(app, ["scan", str(tmp_path / "a"), "--home", str(tmp_path / "home"), "--json"])
    assert done.exit_code == 0, done.output
    told = [json.loads(text) for text in done.stdout.splitlines()]
    assert {one["series_uid"] for one in told} == {derived_uid("test", "series", name) for name in "12"}
    assert all({"status", "reason", "shape", "affine", "modality", "label", "volumes"} <= one.keys() for one in told)


def test_the_catalog_on_disk_names_no_series(tmp_path: Path) -> None:
    keep(tmp_path / "a", series(line(3), PatientName="Muster^Erika"))
    only(tmp_path / "a")
    held = b"".join(path.read_bytes() for path in tmp_path.glob("catalog.sqlite*"))
    for secret in (derived_uid("test", "series", "1"), "PAT-4711", "Muster", "1-001.dcm"):
        assert str(secret).encode() not in held


def test_every_object_is_in_exactly_one_line(tmp_path: Path) -> None:
    """Also two patients under one series, and objects that name no series."""
    for name in ("one", "two"):
        folder = tmp_path / "a" / name
        slices = series(line(3))
        keep(folder, slices, PatientID=name)
        for number, dataset in enumerate(slices):
            dataset.SOPInstanceUID = derived_uid("test", name, str(number))
            dataset.save_as(folder / f"1-{number + 1:03d}.dcm", enforce_file_format=True)
    alone = series(line(1))[0]
    keep(tmp_path / "a", [alone], series="3")
    alone.SeriesInstanceUID = ""
    alone.save_as(tmp_path / "a" / "3-001.dcm", enforce_file_format=True)
    (tmp_path / "a" / "notes.txt").write_text("not DICOM")
    with Catalog(tmp_path / "catalog.sqlite") as catalog:
        report = scan(tmp_path / "a", catalog, key=KEY)
        found = list(describe_all(catalog, KEY, None))
    assert sum(one.usable for one in found) == report.usable == 7
    assert sum(one.files for one in found) == report.files - 1
    assert sorted((one.status, one.shape) for one in found) == [
        ("images", (1, 4, 6)),
        ("usable", (3, 4, 6)),
        ("usable", (3, 4, 6)),
    ]
    assert scans(found) == Scans(2, {Reason.TOO_FEW_SLICES: 1})
