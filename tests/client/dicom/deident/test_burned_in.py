"""What is held back for text in its pixels."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MultiFrameTrueColorSecondaryCaptureImageStorage

from client.dicom.deident.burned_in import FRAMES, held_back, of_a_kind
from client.dicom.reasons import LeftOutError, Reason
from tests.client.dicom.conftest import Make


def ct(make: Make, pixels: NDArray[Any] | None = None) -> Dataset:
    return make(pixels, SOPClassUID=CTImageStorage, Modality="CT")


class Looks:
    """Looks at images and finds no text."""

    def __init__(self) -> None:
        self.seen: list[NDArray[np.float32]] = []

    def __call__(self, grey: NDArray[np.float32]) -> bool:
        self.seen.append(grey)
        return False


def test_an_ordinary_image_is_not_held_back(make: Make) -> None:
    assert held_back(ct(make)) is None


@pytest.mark.parametrize(
    "values",
    [
        {"RecognizableVisualFeatures": "YES"},
        {"RecognizableVisualFeatures": "YES", "BurnedInAnnotation": "NO"},
        {"Modality": "US"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"},
        {"SOPClassUID": MultiFrameTrueColorSecondaryCaptureImageStorage},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.6"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.104.1"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.9.4.1"},
        {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "LABEL", "NONE"]},
    ],
)
def test_what_usually_has_it_is_held_back_without_a_look(make: Make, values: dict[str, object]) -> None:
    dataset = ct(make)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    assert held_back(dataset, never) is Reason.SUSPECTED_TEXT  # it says not that annotations are burned in
    dataset.BurnedInAnnotation = "YES"
    assert held_back(dataset, never) is Reason.BURNED_IN


def test_what_says_so_is_held_back_as_it_says(make: Make) -> None:
    dataset = ct(make)
    dataset.BurnedInAnnotation = "YES"
    assert held_back(dataset, never) is Reason.BURNED_IN


def never(_grey: NDArray[np.float32]) -> bool:
    raise AssertionError


@pytest.mark.parametrize("position", [0, 12])
def test_an_overlay_within_the_pixels_is_held_back(make: Make, position: int) -> None:
    dataset = ct(make)
    dataset.add_new(0x60020102, "US", position)
    assert of_a_kind(dataset) is bool(position)
    assert (held_back(dataset) is Reason.SUSPECTED_TEXT) is bool(position)


def test_not_saying_is_not_saying_no_and_saying_no_is_checked(make: Make) -> None:
    dataset = ct(make)
    assert held_back(dataset, lambda _grey: True) is Reason.SUSPECTED_TEXT
    dataset.BurnedInAnnotation = "NO"
    assert held_back(dataset, lambda _grey: True) is Reason.SUSPECTED_TEXT


def test_text_in_the_pixels_is_found(make: Make) -> None:
    plane = Image.new("L", (256, 256), 20)
    ImageDraw.Draw(plane).text((10, 10), "MUSTER ERIKA 01.01.1970", fill=255, font=ImageFont.load_default(20))
    assert held_back(ct(make, np.asarray(plane))) is Reason.SUSPECTED_TEXT
    assert held_back(ct(make, np.full((256, 256), 20, np.uint8))) is None


def test_what_is_searched_is_grey_between_0_and_1(make: Make) -> None:
    looks = Looks()
    pixels = np.zeros((4, 5, 3), np.uint8)
    pixels[1, 2] = 255
    held_back(ct(make, pixels), looks)
    (grey,) = looks.seen
    assert grey.shape == (4, 5)
    assert grey.dtype == np.float32
    assert (grey.min(), grey.max()) == (0.0, 1.0)
    assert grey[1, 2] == 1.0


def test_frames_are_searched_over_the_whole_object(make: Make) -> None:
    dataset, looks = ct(make), Looks()
    frames = np.arange(100, dtype=np.uint16).repeat(4).reshape(100, 2, 2) + np.array([[0, 1], [0, 0]], np.uint16)
    dataset.Rows = dataset.Columns = 2
    dataset.NumberOfFrames, dataset.PixelData = 100, frames.tobytes()
    held_back(dataset, looks)
    assert len(looks.seen) == FRAMES
    frames[-1] = 0
    dataset.PixelData = frames.tobytes()
    assert held_back(dataset, lambda grey: not grey.any()) is Reason.SUSPECTED_TEXT  # the last frame is among them


def test_what_cannot_be_looked_at_does_not_pass(make: Make) -> None:
    dataset = ct(make)
    dataset.PixelData = b"\0\0"
    with pytest.raises(LeftOutError):
        held_back(dataset)
    assert dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


def test_an_object_without_pixels_has_no_text_in_them(make: Make) -> None:
    dataset = ct(make)
    del dataset.PixelData
    assert held_back(dataset) is None
