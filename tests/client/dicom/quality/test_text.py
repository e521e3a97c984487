"""Writing is found; what looks like writing a little is not. Grounds are generated, and in two tests real."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from client.dicom.item import Location, Part
from client.dicom.quality.looking import plane_of
from client.dicom.quality.text import markers, suspected_text
from client.dicom.scanning.containers import members, stamp

Grey = NDArray[np.float32]
DATA = Path(__file__).parents[5] / "shared" / "data"
LINES = ("MUSTER^ERIKA", "1961-03-04 10:32", "DOE JOHN 12345", "Kim, Lee 03.04.1961", "CHEST PA")
PLACES = ((4, 4), (4, -4), (-4, 4), (-4, -4))


def written(ground: Grey, line: str, size: int, place: tuple[int, int], value: float = 1.0) -> Grey:
    """`ground` with `line` in letters of `size` points at `place`; negative: from the far border."""
    font = ImageFont.load_default(size)
    left, top, right, bottom = font.getbbox(line)
    rows, columns = ground.shape
    y = place[0] if place[0] >= 0 else rows + place[0] - (bottom - top)
    x = place[1] if place[1] >= 0 else columns + place[1] - (right - left)
    ink = Image.new("L", (columns, rows))
    ImageDraw.Draw(ink).text((x - left, y - top), line, fill=255, font=font)
    share = np.asarray(ink) / 255
    return (ground * (1 - share) + value * share).astype(np.float32)


def anatomy(seed: int, rows: int = 320, columns: int = 384) -> Grey:
    """Smooth shapes, an edge and some grain."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :columns] / rows
    grey = 0.35 + 0.2 * np.sin(5 * y + seed) * np.cos(4 * x) + 0.25 * (np.hypot(y - 0.5, x - 0.6) < 0.3)
    grained: Grey = np.clip(grey + random.normal(0, 0.03, grey.shape), 0, 1).astype(np.float32)
    return grained


@pytest.mark.parametrize("size", [10, 12, 16, 24, 32])
@pytest.mark.parametrize("place", PLACES)
def test_light_writing_is_found_in_every_corner_and_size(size: int, place: tuple[int, int]) -> None:
    assert suspected_text(written(anatomy(1), LINES[1], size, place))


@pytest.mark.parametrize("line", LINES)
def test_dark_writing_on_light_ground_is_found(line: str) -> None:
    assert suspected_text(written(1 - 0.4 * anatomy(2), line, 16, (150, 40), value=0.0))


@pytest.mark.parametrize("line", LINES)
def test_writing_on_grain_is_found(line: str) -> None:
    ground = np.clip(np.random.default_rng(3).normal(0.3, 0.1, (256, 320)), 0, 1).astype(np.float32)
    assert suspected_text(written(ground, line, 20, (100, 30)))


def test_grey_writing_is_found() -> None:
    assert suspected_text(written(np.full((200, 300), 0.1, np.float32), LINES[0], 14, (20, 20), value=0.7))


def test_large_letters_are_found_in_large_images() -> None:
    assert suspected_text(written(np.zeros((1200, 1600), np.float32), "DOE JOHN", 140, (200, 200)))


def test_bytes_and_shares_are_the_same_image() -> None:
    grey = np.rint(255 * written(anatomy(4), LINES[2], 16, (10, 10))).astype(np.uint8)
    assert suspected_text(grey)
    assert not suspected_text(np.rint(255 * anatomy(4)).astype(np.uint8))


def ruler() -> Grey:
    """Ticks of two lengths, as on dermoscopes and ultrasound."""
    grey = np.full((200, 300), 0.2, np.float32)
    grey[180:195, 10:290:8] = 1
    grey[170:195, 10:290:40] = 1
    return grey


def squares() -> Grey:
    grey = np.zeros((200, 300), np.float32)
    for left in range(10, 290, 20):
        grey[90:102, left : left + 10] = 1
    return grey


def hairs() -> Grey:
    grey = np.full((200, 300), 0.8, np.float32)
    for start in range(0, 280, 9):
        for step in range(100):
            grey[50 + step, min(299, start + step // 3)] = 0.1
    return grey


GROUNDS = {
    "black": np.zeros((128, 128), np.float32),
    "white": np.ones((128, 128), np.float32),
    "noise": np.random.default_rng(5).random((256, 256), np.float32),
    "salt": (np.random.default_rng(6).random((256, 256)) > 0.97).astype(np.float32),
    "anatomy": anatomy(7),
    "chessboard": (np.indices((256, 256)).sum(axis=0) // 8 % 2).astype(np.float32),
    "stripes": (np.indices((256, 256))[1] // 4 % 2).astype(np.float32),
    "ruler": ruler(),
    "squares": squares(),
    "hairs": hairs(),
    "thirty pixels": written(np.zeros((30, 200), np.float32), LINES[0], 14, (5, 5)),
    "one pixel": np.zeros((1, 1), np.float32),
}


@pytest.mark.parametrize("name", GROUNDS)
def test_what_is_no_writing_is_not_suspected(name: str) -> None:
    assert not suspected_text(GROUNDS[name])


def test_one_letter_is_a_marker_and_no_line() -> None:
    grey = written(anatomy(8), "R", 24, (10, -10))
    assert not suspected_text(grey)
    assert (markers(anatomy(8)), markers(grey)) == (0, 1)


def test_markers_are_counted_near_the_border_only() -> None:
    assert markers(written(anatomy(8), "R", 24, (150, 180))) == 0
    assert markers(np.zeros((20, 20), np.float32)) == 0


@pytest.fixture(scope="module")
def skin() -> list[Grey]:
    """Sixty photographs of three clinics."""
    if not (DATA / "skin").is_dir():
        pytest.skip("needs ../shared/data/skin")
    found = []
    for path in sorted((DATA / "skin").glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".jpg")]
            for name in names[:: len(names) // 20][:20]:
                picture = Image.open(io.BytesIO(archive.read(name))).convert("L")
                found.append((np.asarray(picture) / 255).astype(np.float32))
    return found


@pytest.mark.data
def test_on_real_skin_nothing_is_suspected_and_nine_of_ten_lines_are_found(skin: list[Grey]) -> None:
    assert sum(map(suspected_text, skin)) == 0
    found = 0
    for number, grey in enumerate(skin):
        size, place = (10, 12, 14)[number % 3], PLACES[number % 4]
        dark = float(grey.mean()) > 0.5
        found += suspected_text(written(grey, LINES[number % len(LINES)], size, place, value=0.0 if dark else 1.0))
    assert found >= 0.9 * len(skin)


@pytest.fixture(scope="module")
def slices() -> list[Grey]:
    """Slices of a head phantom and its stand, through a brain window."""
    path = DATA / "dicom" / "ct_philips.zip"
    if not path.is_file():
        pytest.skip("needs ../shared/data/dicom")
    places = [Location(path, member.name) for member in members(path) if "/I" in member.name][::6]
    planes = [plane_of(Part(place, stamp(place))) for place in places]
    return [np.clip(plane.values / 80, 0, 1).astype(np.float32) for plane in planes]


@pytest.mark.data
def test_on_real_slices_nothing_is_suspected_and_nine_of_ten_lines_are_found(slices: list[Grey]) -> None:
    assert sum(map(suspected_text, slices)) == 0
    found = [suspected_text(written(grey, LINES[k % len(LINES)], 12, PLACES[k % 4])) for k, grey in enumerate(slices)]
    assert sum(found) >= 0.9 * len(slices)
