import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from client.dicom.item import Location
from client.dicom.labels import drawing
from client.dicom.labels.drawing import ANY, Drawing
from client.dicom.labels.drawing import drawing_of as drawing_at
from client.dicom.labels.faults import MaskError
from client.dicom.labels.grid import Grid

SKIN = Path(__file__).parents[4].parent / "shared" / "data" / "skin"
NUMBERS = np.array([[0, 1, 1], [2, 0, 3]], np.uint8)
AFFINE = np.array([[0, 0.3, 1.0, -5], [0, 2.0, 0, 7], [3.0, 0.1, 0, 100], [0, 0, 0, 1]])  # sheared


def drawing_of(path: Path) -> Drawing:
    return drawing_at(Location(path))


def picture(tmp_path: Path, image: Image.Image, name: str = "mask.png") -> Path:
    image.save(tmp_path / name)
    return tmp_path / name


def arrays(tmp_path: Path, **values: Any) -> Path:
    np.savez(tmp_path / "mask.npz", **values)
    return tmp_path / "mask.npz"


def volume() -> NDArray[np.bool_]:
    return np.random.default_rng(5).random((3, 4, 5)) < 0.5


@pytest.mark.parametrize("name", ["mask.png", "mask.tiff", "mask.bmp"])
def test_numbers_in_a_picture_are_its_labels(tmp_path: Path, name: str) -> None:
    found = drawing_of(picture(tmp_path, Image.fromarray(NUMBERS), name))
    assert found.labels == ("1", "2", "3")
    assert np.array_equal(found.on_image("2", (2, 3)), NUMBERS == 2)
    assert np.array_equal(found.on_image(ANY, (2, 3)), NUMBERS > 0)


def test_one_bit_sixteen_bits_and_palettes(tmp_path: Path) -> None:
    wide = NUMBERS.astype(np.uint16) * 500
    assert drawing_of(picture(tmp_path, Image.fromarray(wide))).labels == ("500", "1000", "1500")
    bits = Image.fromarray(NUMBERS > 0)
    assert np.array_equal(drawing_of(picture(tmp_path, bits)).on_image("1", (2, 3)), NUMBERS > 0)
    coloured = Image.fromarray(NUMBERS, mode=None)
    coloured.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    assert drawing_of(picture(tmp_path, coloured)).labels == ("1", "2", "3")


def test_an_array(tmp_path: Path) -> None:
    assert np.array_equal(drawing_of(arrays(tmp_path, mask=NUMBERS > 0)).on_image("1", (2, 3)), NUMBERS > 0)


def test_a_dicom_image(write: Callable[..., Path]) -> None:
    found = drawing_of(write("a.dcm", pixels=NUMBERS))
    assert np.array_equal(found.on_image("3", (2, 3)), NUMBERS == 3)


def test_another_size_is_refused_not_stretched(tmp_path: Path) -> None:
    with pytest.raises(MaskError, match="wrong_size"):
        drawing_of(picture(tmp_path, Image.fromarray(NUMBERS))).on_image(ANY, (3, 2))


@pytest.mark.parametrize("label", ["4", "0", "one"])
def test_a_value_that_is_not_there(tmp_path: Path, label: str) -> None:
    with pytest.raises(MaskError, match="no_label"):
        drawing_of(picture(tmp_path, Image.fromarray(NUMBERS))).on_image(label, (2, 3))


def test_an_array_of_slices_lies_where_its_affine_says(tmp_path: Path) -> None:
    mask = volume()
    found = drawing_of(arrays(tmp_path, mask=mask, affine=AFFINE))
    assert np.array_equal(found.on(Grid(tuple(AFFINE.ravel().tolist()), (3, 4, 5)), "1"), mask)
    flipped = AFFINE.copy()
    flipped[:3, 3] += 2 * AFFINE[:3, 0] + 4 * AFFINE[:3, 2]
    flipped[:3, [0, 2]] *= -1
    grid = Grid(tuple(flipped[:, [2, 1, 0, 3]].ravel().tolist()), (5, 4, 3))
    assert np.array_equal(found.on(grid, "1"), mask[::-1, :, ::-1].transpose(2, 1, 0))
    wider = AFFINE.copy()
    wider[:3, 3] -= AFFINE[:3, :3].sum(axis=1)
    assert np.array_equal(found.on(Grid(tuple(wider.ravel().tolist()), (5, 6, 7)), "1"), np.pad(mask, 1))


def test_slices_without_a_place_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MaskError, match="no_geometry"):
        drawing_of(arrays(tmp_path, mask=volume())).on(Grid(tuple(AFFINE.ravel().tolist()), (3, 4, 5)), ANY)


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"mask": NUMBERS / 3}, "unsupported"),
        ({"mask": NUMBERS[0]}, "unsupported"),
        ({"mask": np.zeros((0, 3), np.uint8)}, "unsupported"),
        ({"mask": np.array([[{}]])}, "unreadable"),  # pickled
        ({"other": NUMBERS}, "unreadable"),
        ({"mask": volume(), "affine": np.eye(3)}, "unreadable"),
        ({"mask": volume(), "affine": np.zeros((4, 4))}, "unreadable"),
        ({"mask": volume(), "affine": np.full((4, 4), np.nan)}, "unreadable"),
    ],
)
def test_an_array_that_is_no_mask(tmp_path: Path, values: dict[str, Any], fault: str) -> None:
    with pytest.raises(MaskError, match=fault):
        drawing_of(arrays(tmp_path, **values))


def test_pictures_that_are_no_masks(tmp_path: Path) -> None:
    with pytest.raises(MaskError, match="unsupported"):
        drawing_of(picture(tmp_path, Image.new("RGB", (3, 2))))
    with pytest.raises(MaskError, match="unreadable"):  # compressed with loss: not among the formats
        drawing_of(picture(tmp_path, Image.new("L", (3, 2)), "mask.jpg"))
    path = picture(tmp_path, Image.fromarray(NUMBERS))
    path.write_bytes(path.read_bytes()[:45])
    with pytest.raises(MaskError, match="unreadable"):
        drawing_of(path)
    with pytest.raises(MaskError, match="unreadable"):
        drawing_of(tmp_path / "none.png")


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = arrays(tmp_path, mask=NUMBERS)
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as members:
        members.writestr("mask.npy", bytes(100_000))
    bomb = tmp_path / "bomb.npz"
    bomb.write_bytes(packed.getvalue())
    monkeypatch.setattr(drawing, "UNFOLDED_LIMIT", 10_000)
    with pytest.raises(MaskError, match="too_large"):
        drawing_of(bomb)
    assert drawing_of(path).labels == ("1", "2", "3")
    with pytest.raises(MaskError, match="too_large"):
        drawing_of(picture(tmp_path, Image.new("1", (300, 300))))
    monkeypatch.setattr(drawing, "FILE_LIMIT", 10)
    with pytest.raises(MaskError, match="too_large"):
        drawing_of(path)


@pytest.mark.data
@pytest.mark.skipif(not SKIN.exists(), reason="../shared/data/skin is not here")
def test_real_lesions(tmp_path: Path) -> None:
    with zipfile.ZipFile(next(SKIN.glob("*.zip"))) as members:
        names = [name for name in members.namelist() if "mask" in name.lower() and not name.endswith("/")][:5]
        assert names
        for name in names:
            path = Path(members.extract(name, tmp_path))
            mask = drawing_of(path).on_image(ANY, np.asarray(Image.open(path)).shape[:2])
            assert 0 < mask.mean() < 1


def test_a_palette_from_white_to_black_is_a_picture_of_greys(tmp_path: Path) -> None:
    """As in real collections: black, where nothing is, has the number 255 there."""
    image = Image.fromarray(np.array([[255, 0], [255, 255]], np.uint8), "L")
    image = image.point(lambda value: value).convert("P")
    image.putpalette([255 - value for value in range(256) for _ in range(3)])
    image.save(tmp_path / "a.png")
    assert drawing_of(tmp_path / "a.png").values.tolist() == [[0, 255], [0, 0]]
    image.putpalette([value for value in range(256) for _ in range(3)])
    image.save(tmp_path / "a.png")
    assert drawing_of(tmp_path / "a.png").values.tolist() == [[255, 0], [255, 255]]
