import csv
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from client.dicom.archive import prepare
from client.dicom.dicomize import dicomize
from shared.errors import InputError
from shared.study import Input
from tests.client.dicom.archives import study_of

ROOT = Path(__file__).parents[3]
SKIN = ROOT.parent / "shared" / "data" / "skin" / "rosendahl.zip"

TABLE = """image,patient_id,label,age,sex,colour
images/a.png,P1,yes,75.0,male,x
images/b.jpg,P1,no,,f,y
g.png,Ü2,no,5,,z
"""


def png(array: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


FILES = {
    "images/a.png": png(np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)),
    "images/b.jpg": png(np.full((4, 4, 3), 200, dtype=np.uint8), "JPEG"),
    "g.png": png(np.arange(15, dtype=np.uint16).reshape(3, 5) * 4000),
    "labels.csv": TABLE.encode(),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "in"


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as file:
        for name, data in FILES.items():
            file.writestr(name, data)
    return tmp_path / "in.zip"


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_pixels_and_header(folder: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    assert dicomize(folder, folder / "labels.csv", tmp_path / "out", progress=lambda *done: seen.append(done)) == 3
    assert seen == [(1, 3), (2, 3), (3, 3)]
    color = dcmread(tmp_path / "out" / "DICOM" / "P000001" / "IM000001.dcm")
    assert np.array_equal(color.pixel_array, np.arange(105, dtype=np.uint8).reshape(5, 7, 3))
    assert (color.Modality, color.PatientID, color.PatientAge, color.PatientSex) == ("XC", "P1", "075Y", "M")
    grey = dcmread(tmp_path / "out" / "DICOM" / "P000002" / "IM000001.dcm")
    assert np.array_equal(grey.pixel_array, np.arange(15, dtype=np.uint16).reshape(3, 5) * 4000)
    assert (grey.Modality, grey.PatientID, "PixelSpacing" in grey) == ("OT", "Ü2", False)
    with (tmp_path / "out" / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == ["yes", "no", "no"]
    assert rows[0]["sop_instance_uid"] == color.SOPInstanceUID


def test_folder_and_zip_give_the_same_bytes(folder: Path, packed: Path, tmp_path: Path) -> None:
    dicomize(folder, None, tmp_path / "a")
    dicomize(packed, None, tmp_path / "b")
    dicomize(packed, "labels.csv", tmp_path / "c")
    dicomize(packed, folder / "labels.csv", tmp_path / "d")
    assert digests(tmp_path / "a") == digests(tmp_path / "b") == digests(tmp_path / "c") == digests(tmp_path / "d")


def test_arrays_without_and_with_a_table(tmp_path: Path) -> None:
    images = np.arange(4 * 3 * 3, dtype=np.uint8).reshape(4, 3, 3)
    np.savez(
        tmp_path / "x.npz", train_images=images[:3], train_labels=[[0], [1], [0]], val_images=images[3:], val_labels=[1]
    )
    assert dicomize(tmp_path / "x.npz", None, tmp_path / "a") == 4
    assert len(list((tmp_path / "a" / "DICOM").iterdir())) == 4
    (tmp_path / "t.csv").write_text("image,patient_id\n0,P\n3,P\n")
    assert dicomize(tmp_path / "x.npz", tmp_path / "t.csv", tmp_path / "b") == 2
    second = dcmread(tmp_path / "b" / "DICOM" / "P000001" / "IM000002.dcm")
    assert np.array_equal(second.pixel_array, images[3])
    assert (tmp_path / "b" / "labels.csv").read_text().splitlines()[2].endswith(",1")


def test_pickles_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=np.array([{"evil": 1}], dtype=object), labels=[0])
    with pytest.raises(InputError, match="plain arrays"):
        dicomize(tmp_path / "x.npz", None, tmp_path / "out")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("image,label\n../secret.png,yes\n", "row 1: expected a picture, got no such"),
        ("image,label\nimages/a.png,yes\nlabels.csv,no\n", "row 2: expected a picture, got a file that Pillow"),
        ("image,label\ng.png,yes\ng.png,no\n", "row 2: expected a picture once"),
        ("image,label\ng.png,\n", "row 1: expected an image and a label"),
        ("picture,label\ng.png,yes\n", "image is missing"),
        ("image,label\n", "at least one row"),
    ],
)
def test_what_is_wrong_names_the_row_and_leaves_nothing(folder: Path, tmp_path: Path, table: str, said: str) -> None:
    (tmp_path / "secret.png").write_bytes(FILES["g.png"])
    (folder / "labels.csv").write_text(table)
    with pytest.raises(InputError) as caught:
        dicomize(folder, None, tmp_path / "out")
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {"in", "secret.png"}


def test_what_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="got none"):
        dicomize(tmp_path / "none", None, tmp_path / "out")
    (tmp_path / "x.zip").write_text("no zip")
    with pytest.raises(InputError, match="expected a zip file"):
        dicomize(tmp_path / "x.zip", None, tmp_path / "out")


def test_grey_comes_back_as_it_was(tmp_path: Path) -> None:
    pixels = np.arange(64, dtype=np.uint8).reshape(1, 8, 8) * 4
    np.savez(tmp_path / "x.npz", images=pixels, labels=[1])
    dicomize(tmp_path / "x.npz", None, tmp_path / "out")
    images, _ = prepare(
        tmp_path / "out", tmp_path / "out" / "labels.csv", tmp_path / "home", key=b"k" * 32,
        study=study_of(Input(modalities=("OT",), size=(8, 8)), ("0", "1")),
    )  # fmt: skip
    assert np.allclose(images.pixels[0, 0] * 255, pixels[0], atol=0.01)


@pytest.mark.data
@pytest.mark.skipif(not SKIN.exists(), reason="../shared/data/skin is not here")
def test_real_skin(tmp_path: Path) -> None:
    with zipfile.ZipFile(SKIN) as file:
        lines = file.read("labels.csv").decode().splitlines()
    (tmp_path / "some.csv").write_text("\n".join(lines[:21]) + "\n")
    assert dicomize(SKIN, tmp_path / "some.csv", tmp_path / "out") == 20
    images, counts = prepare(
        tmp_path / "out", tmp_path / "out" / "labels.csv", tmp_path / "home", key=b"k" * 32,
        study=study_of(Input(modalities=("XC",), size=(32, 32), color=True), ("benign", "malignant")),
    )  # fmt: skip
    assert (images.pixels.shape, counts.usable) == ((20, 3, 32, 32), 20)


@pytest.mark.parametrize("table", ["\0,a", f"{'a' * 5000},a"])
def test_a_path_that_cannot_be_one_names_the_row(tmp_path: Path, folder: Path, table: str) -> None:
    (folder / "labels.csv").write_text(f"image,label\n{table}\n")
    with pytest.raises(InputError, match="row 1"):
        dicomize(folder, None, tmp_path / "out")


def test_an_absurd_age_is_none(tmp_path: Path, folder: Path) -> None:
    (folder / "labels.csv").write_text(f"image,label,age\ng.png,a,{'9' * 5000}\n")
    dicomize(folder, None, tmp_path / "out")
    assert "PatientAge" not in dcmread(next((tmp_path / "out").rglob("*.dcm")))


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_member_of_a_zip_is_a_clear_error(tmp_path: Path, method: int) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("labels.csv", TABLE * 20)
    data = bytearray(path.read_bytes())
    data[50:70] = b"\xff" * 20
    path.write_bytes(data)
    with pytest.raises(InputError, match="zip"):
        dicomize(path, None, tmp_path / "out")


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (np.zeros(3, np.uint8), np.zeros(3)),
        (np.zeros((), np.uint8), np.zeros(1)),
        (np.zeros((2, 4, 4), np.uint8), np.zeros((2, 0))),
        (np.zeros((2, 4, 4), np.uint8), np.zeros(3)),
        (np.zeros((2, 4, 4, 7), np.uint8), np.zeros(2)),
    ],
)
def test_arrays_of_another_shape_are_refused(tmp_path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    with pytest.raises(InputError, match=r"NPZ|arrays"):
        dicomize(tmp_path / "a.npz", None, tmp_path / "out")


def soft(size: tuple[int, int]) -> np.ndarray:
    """White within, with an edge of greys: rows from 2 on."""
    mask = np.zeros(size, np.uint8)
    mask[1], mask[2:] = 127, 255
    return mask


class TestMasks:
    """Found in a folder of their own, named by a column, or in the arrays."""

    def table(self, out: Path) -> list[dict[str, str]]:
        with (out / "labels.csv").open(encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def mask(self, out: Path, row: dict[str, str]) -> np.ndarray:
        with Image.open(out / row["mask"]) as file:
            return np.asarray(file)

    def test_of_the_same_name_in_a_folder_masks(self, folder: Path, tmp_path: Path) -> None:
        (folder / "masks").mkdir()
        (folder / "masks" / "a.png").write_bytes(png(soft((5, 7))))
        (folder / "masks" / "g.png").write_bytes(png(np.zeros((3, 5), np.uint8)))
        dicomize(folder, None, tmp_path / "out")
        first, second, third = self.table(tmp_path / "out")
        assert (second["mask"], third["mask"]) == ("", "none")
        mask = self.mask(tmp_path / "out", first)
        assert (mask == np.where(np.arange(5)[:, None] >= 2, 255, 0)).all()
        assert mask.shape == (5, 7)
        with zipfile.ZipFile(tmp_path / "in.zip", "w") as file:
            for path in sorted(folder.rglob("*.*")):
                file.write(path, path.relative_to(folder))
        dicomize(tmp_path / "in.zip", None, tmp_path / "packed")
        assert digests(tmp_path / "out") == digests(tmp_path / "packed")

    def test_named_by_a_column_and_kept_as_they_are_if_they_are_numbers(self, folder: Path, tmp_path: Path) -> None:
        drawn = np.arange(35, dtype=np.uint8).reshape(5, 7) % 4
        (folder / "drawn.png").write_bytes(png(np.stack([drawn] * 3, axis=2)))
        (folder / "labels.csv").write_text("image,label,mask\nimages/a.png,x,drawn.png\ng.png,y,None\n")
        dicomize(folder, None, tmp_path / "out")
        first, second = self.table(tmp_path / "out")
        assert np.array_equal(self.mask(tmp_path / "out", first), drawn)
        assert second["mask"] == "none"

    def test_in_the_arrays(self, tmp_path: Path) -> None:
        masks = np.eye(4, dtype=bool)[None].repeat(2, axis=0)
        np.savez(tmp_path / "x.npz", images=np.zeros((2, 4, 4), np.uint8), labels=[0, 1], masks=masks)
        dicomize(tmp_path / "x.npz", None, tmp_path / "out")
        for row in self.table(tmp_path / "out"):
            assert np.array_equal(self.mask(tmp_path / "out", row), np.eye(4) * 255)

    @pytest.mark.parametrize("masks", [np.zeros((2, 4, 5), bool), np.zeros((1, 4, 4), bool), np.zeros((2, 4, 4))])
    def test_arrays_that_do_not_fit_are_refused(self, tmp_path: Path, masks: np.ndarray) -> None:
        np.savez(tmp_path / "x.npz", images=np.zeros((2, 4, 4), np.uint8), labels=[0, 1], masks=masks)
        with pytest.raises(InputError, match="an array masks"):
            dicomize(tmp_path / "x.npz", None, tmp_path / "out")

    @pytest.mark.parametrize(
        ("drawn", "said"),
        [
            (np.zeros((5, 6), np.uint8), "row 1: expected a mask of the picture's 5 × 7 pixels, got 5 × 6"),
            (np.arange(105, dtype=np.uint8).reshape(5, 7, 3), "row 1: expected a mask in grey"),
            (None, "row 1: expected a picture, got no such file as its mask"),
        ],
    )
    def test_what_is_wrong_names_the_row(
        self, folder: Path, tmp_path: Path, drawn: np.ndarray | None, said: str
    ) -> None:
        if drawn is not None:
            (folder / "drawn.png").write_bytes(png(drawn))
        (folder / "labels.csv").write_text("image,label,mask\nimages/a.png,x,drawn.png\n")
        with pytest.raises(InputError) as caught:
            dicomize(folder, None, tmp_path / "out")
        assert said in str(caught.value)
        assert not (tmp_path / "out").exists()


class TestColumns:
    """Which becomes the label, and what becomes of the others."""

    def rows(self, folder: Path, out: Path, column: str = "label") -> list[dict[str, str]]:
        dicomize(folder, None, out, label_column=column)
        with (out / "labels.csv").open(encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def test_all_but_identifiers_are_kept(self, folder: Path, tmp_path: Path) -> None:
        (folder / "labels.csv").write_text("image,patient_id,label,Diagnosis,age,file\ng.png,P,yes,mel,75.0,x\n")
        (row,) = self.rows(folder, tmp_path / "a")
        assert list(row) == ["sop_instance_uid", "label", "diagnosis", "age"]
        assert (row["label"], row["diagnosis"], row["age"]) == ("yes", "mel", "75.0")
        (row,) = self.rows(folder, tmp_path / "b", "diagnosis")
        assert (row["label"], row["diagnosis"], row["original_label"]) == ("mel", "mel", "yes")

    def test_a_column_that_is_not_there(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="columns image and grade; grade is missing"):
            self.rows(folder, tmp_path / "a", "Grade")


@pytest.mark.data
@pytest.mark.skipif(not SKIN.exists(), reason="../shared/data/skin is not here")
@pytest.mark.parametrize("size", [(75, 100), (96, 96), (150, 200)])
def test_real_masks_lie_where_they_were_drawn(tmp_path: Path, size: tuple[int, int]) -> None:
    with zipfile.ZipFile(SKIN) as file:
        lines = file.read("labels.csv").decode().splitlines()[:13]
        names = [line.split(",")[0].replace("images/", "masks/").replace(".jpg", ".png") for line in lines[1:]]
        masks = [Image.open(io.BytesIO(file.read(name))).convert("L") for name in names]  # some have palettes
    (tmp_path / "some.csv").write_text("\n".join(lines) + "\n")
    dicomize(SKIN, tmp_path / "some.csv", tmp_path / "out", label_column="diagnosis")
    study = study_of(Input(modalities=("XC",), size=size, color=True), ("lesion",))
    images, counts = prepare(
        tmp_path / "out", tmp_path / "out" / "labels.csv", tmp_path / "home", key=b"k" * 32, study=study, target="mask"
    )
    assert (counts.usable, counts.files, images.target.shape) == (12, 12, (12, *size))
    inner = (min(size[0], size[1] * 150 // 200), min(size[1], size[0] * 200 // 150))
    own = np.zeros((12, *size), bool)
    top, side = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    for drawn, mask in zip(own, masks, strict=True):
        small = np.asarray(mask.resize((inner[1], inner[0]), Image.Resampling.BILINEAR)) >= 128
        drawn[top : top + inner[0], side : side + inner[1]] = small
    # every decoded mask is one of the pictures' own: the order of an archive is that of its keyed names
    for found in images.target.astype(bool):
        assert max(2 * (found & drawn).sum() / (found.sum() + drawn.sum()) for drawn in own) > 0.97


@pytest.mark.data
@pytest.mark.skipif(not SKIN.exists(), reason="../shared/data/skin is not here")
def test_the_seven_diagnoses(tmp_path: Path) -> None:
    diagnoses = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
    with zipfile.ZipFile(SKIN) as file:
        lines = file.read("labels.csv").decode().splitlines()
    some = [next(line for line in lines if f",{name}," in line) for name in diagnoses]
    (tmp_path / "some.csv").write_text("\n".join([lines[0], *some]) + "\n")
    dicomize(SKIN, tmp_path / "some.csv", tmp_path / "out", label_column="diagnosis")
    study = study_of(Input(modalities=("XC",), size=(16, 16), color=True), diagnoses)
    images, _ = prepare(
        tmp_path / "out", tmp_path / "out" / "labels.csv", tmp_path / "home", key=b"k" * 32, study=study
    )
    assert sorted(images.target.tolist()) == list(range(7))
