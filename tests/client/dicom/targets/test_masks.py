"""Masks on the grid of their images, from files of every kind."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from client.dicom.archive import Counts
from client.dicom.reasons import Reason
from client.dicom.writing import write_object
from client.images import Images
from shared.errors import InputError
from shared.study import Input
from tests.client.dicom.archives import ready
from tests.client.dicom.labels.segmentations import written
from tests.client.dicom.labels.structures import structure_set
from tests.client.dicom.targets.blobs import blob, centre, dice, draw, keep, slices

Write = Callable[..., Path]

WINDOW = (500.5, 1001.0)  # 0 is black, 1000 is white
AXIAL = [(-100.0, -50.0, 10.0 + 2 * number) for number in range(10)]
#: the table leans by 0.8 mm each slice, as with a tilted gantry
TILTED = [(-100.0, -50.0 + 0.8 * number, 10.0 + 2 * number) for number in range(10)]


def spec(**changes: Any) -> Input:
    return Input(**{"modalities": ("CT", "DX"), "size": (32, 32), "window": WINDOW, **changes})


def masks(
    folder: Path, asked: Input, rows: str, labels: tuple[str, ...] = ("tumor",), **changes: Any
) -> tuple[Images, Counts]:
    images, counts = ready(folder / "archive", asked, rows, labels=labels, target="mask", **changes)
    assert images.target.dtype == np.uint8
    assert images.target.shape == (counts.usable, *asked.size)
    assert counts.files == len([*folder.glob("archive/*.dcm")])
    return images, counts


def skipped(counts: Counts) -> dict[Reason, int]:
    return {reason: count for reason, count in counts.skipped.items() if count}


def seen(images: Images, channel: int = 0) -> NDArray[np.bool_]:
    """Where the image itself shows the blob: bool [n, *size]."""
    return images.tensors(np.arange(len(images.target)))[:, channel] >= 0.5


class TestAnImage:
    @pytest.mark.parametrize(
        ("shape", "spacing", "asked"),
        [
            pytest.param((32, 32), (1.0, 1.0), {}, id="as it is"),
            pytest.param((40, 64), (1.0, 1.0), {}, id="fitted whole, padded above and below"),
            pytest.param((90, 50), (0.5, 1.2), {}, id="oblong pixels"),
            pytest.param((20, 14), (1.0, 1.0), {}, id="made larger"),
            pytest.param((60, 80), (1.0, 1.0), {"spacing": (2.0, 2.0)}, id="cropped at a fixed spacing"),
            pytest.param((70, 44), (1.5, 1.5), {"spacing": (2.0, 2.6)}, id="cropped and padded"),
        ],
    )
    def test_lies_where_its_image_lies(
        self, write: Write, tmp_path: Path, shape: tuple[int, int], spacing: tuple[float, float], asked: dict[str, Any]
    ) -> None:
        middle = (0.42 * shape[0], 0.58 * shape[1])
        drawn = blob(shape, middle, (shape[0] / 6, shape[1] / 7))
        write("1.dcm", 1, drawn.astype(np.uint16) * 1000, PatientID="P1", PixelSpacing=list(spacing))
        name = draw(tmp_path / "masks" / "1.png", drawn * 255)
        images, _ = masks(tmp_path, spec(**asked), f"file,mask\n1.dcm,{name}\n")
        assert set(np.unique(images.target)) == {0, 1}
        assert dice(images.target[0], seen(images)[0]) > 0.93
        # halfway between two pixels the further one counts: half a pixel of the image at most
        assert np.abs(centre(images.target[0]) - centre(seen(images)[0])).max() < 0.35

    def test_without_any_resampling_it_is_the_drawing(self, write: Write, tmp_path: Path) -> None:
        drawn = np.random.default_rng(3).integers(0, 2, (32, 32)).astype(np.uint8)
        write("1.dcm", 1, drawn.astype(np.uint16) * 1000)
        name = draw(tmp_path / "masks" / "1.png", drawn)
        images, _ = masks(tmp_path, spec(), f"file,mask\n1.dcm,{name}\n")
        assert np.array_equal(images.target[0], drawn)
        assert np.array_equal(images.target[0], seen(images)[0])

    def test_labels_by_value_and_by_a_column_each(self, write: Write, tmp_path: Path) -> None:
        drawn = np.zeros((32, 32), np.uint8)
        drawn[:8], drawn[8:16], drawn[16:24] = 1, 2, 7
        write("1.dcm", 1, np.zeros((32, 32), np.uint16))
        name = draw(tmp_path / "masks" / "1.png", drawn)
        images, _ = masks(tmp_path, spec(), f"file,mask\n1.dcm,{name}\n", ("7", "1"))
        assert images.target[0, ::8, 0].tolist() == [2, 0, 1, 0]
        liver, tumor = draw(tmp_path / "masks" / "liver.png", drawn > 0), draw(tmp_path / "masks" / "t.png", drawn == 2)
        rows = f"file,mask liver,mask tumor\n1.dcm,{liver},{tumor}\n"
        images, _ = masks(tmp_path, spec(), rows, ("liver", "tumor"))
        assert images.target[0, ::8, 0].tolist() == [1, 2, 1, 0]  # the later label lies on the earlier
        images, _ = masks(tmp_path, spec(), rows.replace(tumor, "none"), ("liver", "tumor"))
        assert images.target[0, ::8, 0].tolist() == [1, 1, 1, 0]

    def test_every_fault_by_its_reason(self, write: Write, tmp_path: Path) -> None:
        for number in range(10):
            write(f"{number}.dcm", number, np.zeros((32, 32), np.uint16), PatientID=f"P{number}")
        write("several.dcm", 11, np.zeros((32, 32), np.uint16), NumberOfFrames=1)
        good = draw(tmp_path / "masks" / "good.png", np.eye(32))
        small = draw(tmp_path / "masks" / "small.png", np.eye(16))
        (tmp_path / "masks" / "broken.png").write_bytes(b"\x89PNG no more")
        (tmp_path.parent / "outside.png").write_bytes((tmp_path / good).read_bytes())
        rows = (
            f"file,patient_id,mask\n0.dcm,,{good}\n1.dcm,,none\n2.dcm,,\n3.dcm,,{small}\n4.dcm,,masks/broken.png\n"
            f"5.dcm,,masks/gone.png\n6.dcm,,../outside.png\n7.dcm,,{good}\n7.dcm,,none\n,P8,{good}\n"
        )
        images, counts = masks(tmp_path, spec(), rows)
        assert sorted(images.target.reshape(len(images.target), -1).sum(axis=1).tolist()) == [0, 32]
        assert skipped(counts) == {Reason.NO_LABEL: 3, Reason.UNUSABLE_LABEL: 5, Reason.LABEL_CONFLICT: 1}
        assert counts.files == 11
        _, again = masks(tmp_path, spec(), rows)  # remembered, not decoded
        assert again == counts

    def test_what_the_table_lacks_is_said(self, write: Write, tmp_path: Path) -> None:
        write("1.dcm", 1)
        with pytest.raises(InputError, match="a column 'mask'"):
            masks(tmp_path, spec(), "file,label\n1.dcm,a\n")
        with pytest.raises(InputError, match="a column 'mask scar'"):
            masks(tmp_path, spec(), "file,mask tumor\n1.dcm,none\n", ("tumor", "scar"))
        with pytest.raises(InputError, match="1 rows with a value, of which none matches"):
            masks(tmp_path, spec(), "file,mask\n9.dcm,none\n")
        with pytest.raises(InputError, match="what is drawn in the masks"):
            masks(tmp_path, spec(), "file,mask\n1.dcm,none\n", ())

    def test_masks_in_the_archive_are_the_table_s(self, write: Write, tmp_path: Path) -> None:
        write("1.dcm", 1, np.zeros((32, 32), np.uint16))
        name = draw(tmp_path / "archive" / "masks" / "1.png", np.eye(32))
        table = tmp_path / "archive" / "labels.csv"
        table.write_text(f"file,label,mask\n1.dcm,clear,{name}\n")
        _, counts = masks(tmp_path, spec(), "", source=table)
        assert (counts.usable, counts.files) == (1, 1)
        _, counts = ready(tmp_path / "archive", spec(), "", source=table)  # of a study that wants none, too
        assert (counts.usable, counts.files) == (1, 1)


class TestSeries:
    """The same ellipsoid in a CT and in a mask of each kind."""

    DRAWN = blob((10, 24, 30), (4.3, 10.0, 18.0), (3.1, 7.0, 6.0))

    def drawn(self, folder: Path, kind: str, places: list[tuple[float, float, float]]) -> tuple[str, Path | None]:
        """Write the series and its mask. Returns rows of a table, or where the DICOM masks lie."""
        images = slices(self.DRAWN, places)
        uids = keep(folder / "archive", images)
        (folder / "masks").mkdir()
        if kind == "segmentation":
            written(images, self.DRAWN.astype(np.uint8), labels=("tumor",)).save_as(folder / "masks" / "a.dcm")
            return "", folder / "masks"
        if kind == "structures":
            made = structure_set([("tumor", self._contours(places))], series=str(images[0].SeriesInstanceUID))
            for roi in made.StructureSetROISequence:
                roi.ReferencedFrameOfReferenceUID = images[0].FrameOfReferenceUID
            write_object(folder / "masks" / "a.dcm", made)
            return "", folder / "masks"
        if kind == "array":
            affine = np.eye(4)
            affine[:3] = np.stack((np.subtract(places[1], places[0]), (0, 0.5, 0), (0.5, 0, 0), places[0]), axis=1)
            np.savez(folder / "masks" / "a.npz", mask=self.DRAWN, affine=affine)
            return f"series_instance_uid,mask\n{images[0].SeriesInstanceUID},masks/a.npz\n", None
        names = [draw(folder / "masks" / f"{n}.png", p) if p.any() else "none" for n, p in enumerate(self.DRAWN)]
        lines = "".join(f"{uid},{name}\n" for uid, name in zip(uids, names, strict=True))
        return "sop_instance_uid,mask\n" + lines, None

    def _contours(self, places: list[tuple[float, float, float]]) -> list[NDArray[np.float64]]:
        """Ellipses through the same places, LPS mm."""
        found, turn = [], np.linspace(0, 2 * np.pi, 90, endpoint=False)
        for number, (x, y, z) in enumerate(places):
            share = 1 - ((number - 4.3) / 3.1) ** 2
            if share > 0:
                row = 10.0 + 7.0 * np.sqrt(share) * np.sin(turn)
                column = 18.0 + 6.0 * np.sqrt(share) * np.cos(turn)
                found.append(np.stack((x + 0.5 * column, y + 0.5 * row, np.full(90, z)), axis=1))
        return found

    @pytest.mark.parametrize("kind", ["segmentation", "structures", "array", "drawings"])
    @pytest.mark.parametrize(
        ("asked", "places"),
        [
            pytest.param({"size": (10, 24, 30), "spacing": (2.0, 0.5, 0.5)}, AXIAL, id="the scanner's grid"),
            pytest.param({"size": (24, 24, 24)}, AXIAL, id="fitted"),
            pytest.param({"size": (20, 26, 26), "spacing": (1.0, 0.5, 0.5)}, AXIAL, id="finer slices"),
            pytest.param({"size": (12, 32, 32), "spacing": (2.0, 0.5, 0.5)}, TILTED, id="upright from a tilted gantry"),
        ],
    )
    def test_a_volume(
        self, tmp_path: Path, kind: str, asked: dict[str, Any], places: list[tuple[float, float, float]]
    ) -> None:
        rows, source = self.drawn(tmp_path, kind, places)
        images, counts = masks(tmp_path, spec(kind="volume", **asked), rows, source=source)
        assert (counts.usable, counts.files, skipped(counts)) == (1, 10, {})
        assert dice(images.target[0], seen(images)[0]) > 0.9
        assert np.abs(centre(images.target[0]) - centre(seen(images)[0])).max() < 0.3

    @pytest.mark.parametrize("kind", ["segmentation", "structures", "array", "drawings"])
    def test_slices_as_images_and_as_stacks(self, tmp_path: Path, kind: str) -> None:
        rows, source = self.drawn(tmp_path, kind, AXIAL)
        for asked in (spec(), spec(kind="stack", neighbours=1)):
            images, counts = masks(tmp_path, asked, rows, source=source)
            assert (counts.usable, skipped(counts)) == (10, {})
            shown = seen(images, asked.neighbours)
            assert (images.target.any(axis=(1, 2)) == shown.any(axis=(1, 2))).all()
            assert dice(images.target, shown) > 0.95

    def test_a_slice_that_the_table_does_not_speak_of_costs_the_volume(self, tmp_path: Path) -> None:
        rows, _ = self.drawn(tmp_path, "drawings", AXIAL)
        keep(tmp_path / "archive", slices(self.DRAWN, AXIAL), "P2")
        lines = rows.splitlines()
        uids = [line.split(",")[0] for line in lines[1:]]
        others = keep(tmp_path / "archive", slices(self.DRAWN, AXIAL), "P2")
        lines += [line.replace(uid, other) for line, uid, other in zip(lines[1:], uids, others, strict=True)][:-1]
        images, counts = masks(tmp_path, spec(kind="volume", size=(8, 8, 8)), "\n".join(lines) + "\n")
        assert (len(images.target), skipped(counts)) == (1, {Reason.NO_LABEL: 10})

    def test_a_segmentation_without_the_label_says_nothing(self, tmp_path: Path) -> None:
        _, source = self.drawn(tmp_path, "segmentation", AXIAL)
        with pytest.raises(InputError, match="10 no row of the label file matches it"):
            masks(tmp_path, spec(), "", ("liver",), source=source)
        images, _ = masks(tmp_path, spec(), "", ("liver", "tumor"), source=source)
        assert set(np.unique(images.target)) == {0, 2}

    def test_a_folder_without_masks_of_this_archive(self, tmp_path: Path) -> None:
        self.drawn(tmp_path, "segmentation", AXIAL)
        (tmp_path / "others").mkdir()
        with pytest.raises(InputError, match="DICOM segmentations or structure sets, got none"):
            masks(tmp_path, spec(), "", source=tmp_path / "others")
        other = slices(self.DRAWN, AXIAL)
        keep(tmp_path / "elsewhere", other, "P9")
        written(other, self.DRAWN.astype(np.uint8), labels=("tumor",)).save_as(tmp_path / "others" / "a.dcm")
        with pytest.raises(InputError, match="1, of which none is"):
            masks(tmp_path, spec(), "", source=tmp_path / "others")


class TestCache:
    def archive(self, write: Write, folder: Path, count: int = 6) -> str:
        rows = "file,mask\n"
        for number in range(count):
            write(f"{number}.dcm", number, np.zeros((32, 32), np.uint16), PatientID=f"P{number}")
            drawn = np.zeros((32, 32))
            drawn[number, number] = 1
            rows += f"{number}.dcm,{draw(folder / 'masks' / f'{number}.png', drawn)}\n"
        return rows

    def told(self, folder: Path, rows: str, **changes: Any) -> tuple[Images, list[str]]:
        stages: list[str] = []
        images, _ = masks(folder, spec(), rows, progress=lambda stage, *_: stages.append(stage), **changes)
        return images, stages

    def test_masks_are_mapped_and_decoded_once(self, write: Write, tmp_path: Path) -> None:
        rows = self.archive(write, tmp_path)
        first, stages = self.told(tmp_path, rows)
        assert stages.count("target") == 6
        assert not first.target.flags.owndata
        assert not first.target.flags.writeable
        second, stages = self.told(tmp_path, rows)
        assert "target" not in stages
        assert np.array_equal(first.target, second.target)

    def test_a_mask_that_was_drawn_anew_is_decoded_anew(self, write: Write, tmp_path: Path) -> None:
        rows = self.archive(write, tmp_path)
        before, _ = self.told(tmp_path, rows)
        draw(tmp_path / "masks" / "3.png", np.ones((32, 32)))
        after, stages = self.told(tmp_path, rows)
        assert stages.count("target") == 1
        assert (before.target != after.target).any(axis=(1, 2)).sum() == 1
        assert sorted(after.target.sum(axis=(1, 2)).tolist()) == [1] * 5 + [32 * 32]

    def test_a_flipped_bit_is_found_and_made_good(self, write: Write, tmp_path: Path) -> None:
        rows = self.archive(write, tmp_path)
        before = np.array(self.told(tmp_path, rows)[0].target)
        (path,) = tmp_path.glob("home/cache/*/1024.rows")
        with path.open("r+b") as file:
            file.seek(2 * 1024 + 77)
            file.write(b"\x09")
        after, stages = self.told(tmp_path, rows)
        assert stages.count("target") == 1
        assert np.array_equal(before, after.target)

    def test_no_name_of_a_mask_in_any_byte_of_home(self, write: Write, tmp_path: Path) -> None:
        write("1.dcm", 1, np.zeros((32, 32), np.uint16))
        name = draw(tmp_path / "masks" / "Muster-Erika.png", np.eye(32))
        masks(tmp_path, spec(), f"file,mask\n1.dcm,{name}\n")
        files = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
        assert not [path for path in files if b"Muster-Erika" in path.read_bytes() + os.fsencode(path)]

    def test_another_list_of_labels_is_another_mask(self, write: Write, tmp_path: Path) -> None:
        write("1.dcm", 1, np.zeros((32, 32), np.uint16))
        name = draw(tmp_path / "masks" / "1.png", np.eye(32) * 2)
        rows = f"file,mask\n1.dcm,{name}\n"
        for labels, value in ((("1", "2"), 2), (("2", "1"), 1)):
            images, _ = masks(tmp_path, spec(), rows, labels)
            assert images.target.max() == value
