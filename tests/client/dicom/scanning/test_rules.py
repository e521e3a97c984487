from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from client.dicom.reasons import Reason
from client.dicom.scanning.header import read_header
from client.dicom.scanning.rules import fault
from client.dicom.writing import write_object

Write = Callable[..., Path]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, None),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, Reason.LOCALIZER),
        ({"BurnedInAnnotation": "YES"}, Reason.BURNED_IN),
        ({"BurnedInAnnotation": "NO"}, None),
        ({"NumberOfFrames": 2, "PixelData": bytes(64)}, None),  # the study decides (judge.py)
        ({"NumberOfFrames": 0}, None),
        ({"NumberOfFrames": 2}, Reason.TRUNCATED),
        ({"Rows": 5}, Reason.TRUNCATED),
        ({"Rows": 0}, Reason.UNSUPPORTED_PIXELS),
        ({"Rows": 60000, "Columns": 60000}, Reason.TOO_LARGE),
        ({"NumberOfFrames": 1 << 17}, Reason.TOO_LARGE),
        ({"Rows": 8192, "Columns": 8192, "NumberOfFrames": 999}, Reason.TOO_LARGE),
        ({"PhotometricInterpretation": "HSV"}, Reason.UNSUPPORTED_PIXELS),
        ({"SamplesPerPixel": 3}, Reason.UNSUPPORTED_PIXELS),
        ({"BitsAllocated": 12}, Reason.UNSUPPORTED_PIXELS),
        ({"BitsStored": 17}, Reason.UNSUPPORTED_PIXELS),
    ],
)
def test_what_a_header_says_against_an_image(write: Write, values: dict[str, Any], reason: Reason | None) -> None:
    assert fault(read_header(write("a.dcm", **values))) is reason


@pytest.mark.parametrize(
    ("keyword", "bits", "photometric", "reason"),
    [
        ("FloatPixelData", 32, "MONOCHROME2", None),
        ("FloatPixelData", 64, "MONOCHROME2", Reason.UNSUPPORTED_PIXELS),
        ("FloatPixelData", 32, "PALETTE COLOR", Reason.UNSUPPORTED_PIXELS),
        ("DoubleFloatPixelData", 64, "MONOCHROME2", None),
    ],
)
def test_pixels_that_are_floats(
    make: Callable[..., Any], tmp_path: Path, keyword: str, bits: int, photometric: str, reason: Reason | None
) -> None:
    dataset = make(BitsAllocated=bits, PhotometricInterpretation=photometric)
    del dataset.PixelData, dataset.BitsStored
    setattr(dataset, keyword, bytes(16 * bits // 8))
    path = tmp_path / "a.dcm"
    write_object(path, dataset)
    assert fault(read_header(path)) is reason
