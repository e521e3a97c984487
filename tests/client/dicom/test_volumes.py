"""Studies of volumes and of slices with neighbours, from files to tensors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.dicom.reasons import Reason
from client.dicom.writing import derived_uid, write_object
from shared.errors import InputError
from shared.study import Input
from tests.client.dicom.archives import keep, ready
from tests.client.dicom.geometry.series import SAGITTAL, line, multi_frame, series

WINDOW = (1000.5, 2001.0)  # stored value v is shown as v / 2000


def volumes(size: tuple[int, ...] = (8, 8, 8), **changes: Any) -> Input:
    return Input(**{"modalities": ("CT", "MR"), "size": size, "kind": "volume", "window": WINDOW, **changes})


def series_row(*labels: tuple[str, str]) -> str:
    rows = (f"{derived_uid('test', 'series', name)},{label}\n" for name, label in labels)
    return "series_instance_uid,label\n" + "".join(rows)


def skipped(counts: Any) -> dict[Reason, int]:
    return {reason: count for reason, count in counts.skipped.items() if count}


def test_a_series_becomes_one_volume_in_the_order_of_positions(tmp_path: Path) -> None:
    """Numbers run against the positions: the number decides nothing."""
    keep(tmp_path / "a", series(reversed(line(8, 0.5))))
    images, counts = ready(tmp_path / "a", volumes(spacing=(0.5, 0.5, 0.5)), series_row(("1", "nodule")))
    assert (counts.usable, counts.files, skipped(counts)) == (1, 8, {})
    assert images.target.tolist() == [1]
    (volume,) = images.tensors(np.arange(1))
    assert volume.shape == (1, 8, 8, 8)
    # slice 8 lies lowest and comes first; 4 rows and 6 columns stand in the middle of 8 × 8
    np.testing.assert_allclose(volume[0, :, 4, 4], np.arange(8, 0, -1) * 100 / 2000, atol=2e-4)
    assert np.flatnonzero(volume[0, 0].any(axis=1)).tolist() == [2, 3, 4, 5]
    assert np.flatnonzero(volume[0, 0].any(axis=0)).tolist() == [1, 2, 3, 4, 5, 6]


def test_sagittal_slices_lie_from_left_to_right_in_the_same_tensor(tmp_path: Path) -> None:
    """Sagittal slices step along x: here their order is along the last axis of the tensor."""
    places = [(10.0 + 0.5 * number, -50.0, 20.0) for number in range(8)]
    keep(tmp_path / "a", series(places, ImageOrientationPatient=list(SAGITTAL)))
    images, _ = ready(tmp_path / "a", volumes(spacing=(0.5, 0.5, 0.5)), series_row(("1", "clear")))
    volume = images.tensors(np.arange(1))[0, 0]
    np.testing.assert_allclose(volume[4, 4, :], np.arange(1, 9) * 100 / 2000, atol=2e-4)


def test_several_volumes_in_one_series_are_several_tensors_of_one_patient(tmp_path: Path) -> None:
    early, late = series(line(4)), series(line(4))
    for dataset in early:
        dataset.TemporalPositionIdentifier = 1
    for dataset in late:
        dataset.TemporalPositionIdentifier = 2
    keep(tmp_path / "a", [*early, *late], Modality="MR")
    images, counts = ready(tmp_path / "a", volumes(), series_row(("1", "clear")))
    assert (counts.usable, counts.files, len(images.keys)) == (2, 8, 1)


def test_an_enhanced_object_is_a_volume_as_its_slices_would_be(tmp_path: Path) -> None:
    spec, rows = volumes(spacing=(2.0, 0.5, 0.5)), series_row(("1", "clear"), ("2", "clear"))
    positions = line(8)
    whole = multi_frame(positions)
    keep(tmp_path / "a", [whole], series="2", PatientID="other")
    single = series(positions, PixelRepresentation=0)
    keep(tmp_path / "a", single, series="1")
    frames = np.repeat(np.arange(1, 9, dtype=np.uint16) * 100, whole.Rows * whole.Columns)
    whole.PixelData = frames.tobytes()
    keep_again = tmp_path / "a" / "2-001.dcm"
    whole.save_as(keep_again, enforce_file_format=True)
    images, counts = ready(tmp_path / "a", spec, rows)
    assert counts.usable == 2
    first, second = images.tensors(np.arange(2))
    assert np.array_equal(first, second)
    assert first.any()


def test_a_gap_makes_no_volume_but_its_slices_are_images(tmp_path: Path) -> None:
    positions = line(8)
    del positions[3]
    keep(tmp_path / "a", series(positions))
    rows = series_row(("1", "clear"))
    with pytest.raises(InputError, match=f"7 {Reason.MISSING_SLICES.explain}. {Reason.MISSING_SLICES.advice}"):
        ready(tmp_path / "a", volumes(), rows)
    images, counts = ready(tmp_path / "a", Input(modalities=("CT",), size=(8, 8)), rows)
    assert (counts.usable, len(images.target)) == (7, 7)


def test_one_slice_that_cannot_be_decoded_costs_its_volume_and_is_named(tmp_path: Path) -> None:
    keep(tmp_path / "a", series(line(4)), series="1")
    keep(tmp_path / "a", series(line(4)), series="2", PatientID="other")
    broken = series(line(4))
    keep(tmp_path / "a", broken, series="2", PatientID="other")
    damaged = tmp_path / "a" / "2-002.dcm"
    data = damaged.read_bytes()
    damaged.write_bytes(data.replace(b"\x28\x00\x00\x01US\x02\x00\x10\x00", b"\x28\x00\x00\x01US\x02\x00\x20\x00"))
    images, counts = ready(tmp_path / "a", volumes(), series_row(("1", "clear"), ("2", "nodule")))
    assert counts.usable == len(images.target) == 1
    assert sum(skipped(counts).values()) == 4
    assert counts.files == 8


def test_slices_that_the_table_labels_differently_make_no_labelled_volume(tmp_path: Path) -> None:
    keep(tmp_path / "a", series(line(4)), series="1")
    keep(tmp_path / "a", series(line(4)), series="2", PatientID="other")
    uid = [derived_uid("test", "slice", "1", str(number)) for number in (1, 2)]
    second = derived_uid("test", "slice", "2", "3")
    rows = f"sop_instance_uid,label\n{uid[0]},clear\n{uid[1]},nodule\n{second},nodule\n"
    images, counts = ready(tmp_path / "a", volumes(), rows)
    assert images.target.tolist() == [1]  # one labelled slice speaks for its volume
    assert skipped(counts) == {Reason.LABEL_CONFLICT: 4}


def test_slices_of_two_patients_under_one_series_are_two_volumes(tmp_path: Path) -> None:
    keep(tmp_path / "a", series(line(4)), PatientID="one")
    for path in (tmp_path / "a").iterdir():
        path.rename(path.with_name("one-" + path.name))
    others = series(line(4))
    keep(tmp_path / "a", others, PatientID="two")
    for number, dataset in enumerate(others, start=1):
        dataset.SOPInstanceUID = derived_uid("test", "other", str(number))
        dataset.save_as(tmp_path / "a" / f"1-{number:03d}.dcm", enforce_file_format=True)
    images, counts = ready(tmp_path / "a", volumes(), series_row(("1", "clear")))
    assert (counts.usable, len(images.keys)) == (2, 2)


def test_coloured_slices_are_a_volume_of_their_own_and_become_grey(tmp_path: Path) -> None:
    coloured = series(line(4, start=100))
    for dataset in coloured:
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
        dataset.BitsAllocated = dataset.BitsStored = 8
        dataset.HighBit, dataset.PixelData = 7, bytes((255, 0, 0)) * 24
    keep(tmp_path / "a", series(line(4)), series="1")
    for number, dataset in enumerate(coloured):
        dataset.SOPInstanceUID = derived_uid("test", "colour", str(number))
        dataset.SeriesInstanceUID = derived_uid("test", "series", "1")
        write_object(tmp_path / "a" / f"colour-{number}.dcm", dataset)
    images, counts = ready(tmp_path / "a", volumes(), series_row(("1", "clear")))
    assert (counts.usable, skipped(counts)) == (2, {})
    luma = np.float32(0.299)  # of red, ITU-R BT.601
    assert sorted(abs(volume.max() - luma) < 1e-4 for volume in images.tensors(np.arange(2))) == [False, True]


class TestStacks:
    SPEC = Input(modalities=("CT",), size=(8, 8), kind="stack", neighbours=1, window=WINDOW)

    def test_every_slice_comes_with_its_neighbours_and_the_ends_twice(self, tmp_path: Path) -> None:
        keep(tmp_path / "a", series(line(4)))
        images, counts = ready(tmp_path / "a", self.SPEC, series_row(("1", "clear")))
        assert (counts.usable, counts.files) == (4, 4)
        found = np.rint(images.tensors(np.arange(4))[:, :, 4, 4] * 20).astype(int).tolist()
        assert sorted(found) == [[1, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 4]]

    def test_a_series_without_geometry_gives_none(self, tmp_path: Path) -> None:
        keep(tmp_path / "a", series(line(4)), series="1")
        keep(tmp_path / "a", series(line(4), ImagePositionPatient=None), series="2", PatientID="other")
        _, counts = ready(tmp_path / "a", self.SPEC, series_row(("1", "clear"), ("2", "clear")))
        assert skipped(counts) == {Reason.NO_GEOMETRY: 4}


class TestFrames:
    def spec(self, **changes: Any) -> Input:
        return Input(**{"modalities": ("MR",), "size": (8, 8), "window": WINDOW, **changes})

    @pytest.mark.parametrize(("frames", "images"), [("each", 5), ("middle", 1)])
    def test_frames_of_one_object_are_images_of_one_patient(self, tmp_path: Path, frames: str, images: int) -> None:
        keep(tmp_path / "a", [multi_frame(line(5))])
        found, counts = ready(tmp_path / "a", self.spec(frames=frames), series_row(("1", "clear")))
        assert (len(found.target), len(found.keys), counts.files) == (images, 1, 1)

    def test_or_the_object_is_left_out(self, tmp_path: Path) -> None:
        keep(tmp_path / "a", [multi_frame(line(5))])
        with pytest.raises(InputError, match=Reason.MULTI_FRAME.explain):
            ready(tmp_path / "a", self.spec(frames="none"), series_row(("1", "clear")))

    def test_a_study_that_fixes_the_size_of_a_pixel_needs_one(self, tmp_path: Path) -> None:
        keep(tmp_path / "a", series(line(2)), series="1", Modality="MR")
        keep(tmp_path / "a", series(line(2), PixelSpacing=None), series="2", Modality="MR", PatientID="other")
        rows = series_row(("1", "clear"), ("2", "clear"))
        _, counts = ready(tmp_path / "a", self.spec(spacing=(0.5, 0.5)), rows)
        assert (counts.usable, skipped(counts)) == (2, {Reason.NO_GEOMETRY: 2})


def test_studies_of_one_tensor_share_what_is_decoded(tmp_path: Path) -> None:
    for name in "12":
        keep(tmp_path / "a", series(line(4)), series=name, PatientID=name)
    spec, told = volumes(), list[str]()
    ready(tmp_path / "a", spec, series_row(("1", "clear")))
    images, _ = ready(
        tmp_path / "a",
        spec,
        series_row(("1", "clear"), ("2", "nodule")),
        progress=lambda stage, done, total: told.append(f"{stage} {done} {total}"),
    )
    assert told == ["decode 1 1"]
    assert len(images.target) == 2
