"""Bits, signs and colours as they come out of every kind of encoding."""

import io
import struct
from collections.abc import Callable
from typing import Any

import jpeg_ls
import numpy as np
import openjpeg.utils
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    MPEG4HP41,
    UID,
    JPEG2000Lossless,
    JPEG2000MCLossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from client.dicom.pixels import layout as layout_module
from client.dicom.pixels.stored import stored_frame
from client.dicom.reasons import LeftOutError, Reason

Make = Callable[..., Dataset]

RNG = np.random.default_rng(2)


def compressed(make: Make, frames: list[bytes], syntax: str, pixels: Any, **header: object) -> Dataset:
    """An object as for `pixels`, whose frames are these bytes."""
    dataset = make(pixels, **header)
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    return dataset


def reason_of(dataset: Dataset, frame: int = 0) -> Reason:
    with pytest.raises(LeftOutError) as caught:
        stored_frame(dataset, frame)
    return caught.value.reason


def jpeg(picture: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("high", [11, 13, 15])
def test_values_are_the_bits_below_high_bit(make: Make, signed: bool, high: int) -> None:
    values = np.array([[0, 1, 2047, -1 if signed else 4095, -2048 if signed else 2048]])
    rubbish = 0xFFFF & ~(0xFFF << (high - 11))  # overlays and what else is there (60xx,0102)
    cells = ((values & 0xFFF) << (high - 11) | rubbish).astype(np.uint16)
    dataset = make(cells, BitsStored=12, HighBit=high, PixelRepresentation=int(signed))
    assert stored_frame(dataset, 0).values.tolist() == values.tolist()


def test_32_bits_without_loss(make: Make) -> None:
    values = np.array([[0, 2**31, 2**32 - 1]], dtype=np.uint32)
    assert stored_frame(make(values), 0).values.tolist() == values.tolist()


@pytest.mark.parametrize("said", [0, 1])
@pytest.mark.parametrize("coded", [False, True])
def test_the_header_decides_about_the_sign_of_jpeg_2000(make: Make, said: int, coded: bool) -> None:
    """pydicom #1149: the codestream says one sign, Pixel Representation the other; 12 bits in either."""
    values = np.resize(np.array([[0, 5, 2047]]), (64, 64))
    patterns = np.where(values == 5, 0xFFB, values)  # -5 in 12 bits
    given_ = np.where(patterns > 2047, patterns - 4096, patterns).astype(np.int16) if coded else patterns
    data = bytes(openjpeg.utils.encode_array(given_.astype(np.int16 if coded else np.uint16), bits_stored=12))
    dataset = compressed(
        make, [data], JPEG2000Lossless, given_.astype(np.uint16), BitsStored=12, HighBit=11, PixelRepresentation=said
    )
    assert stored_frame(dataset, 0).values[0, :3].tolist() == [0, -5 if said else 0xFFB, 2047]


def test_jpeg_ls_narrower_than_its_cells(make: Make) -> None:
    """pydicom #2009: Bits Stored 16, but the codestream has 12 bits, and a sign."""
    data = bytes(jpeg_ls.encode_array(np.array([[0xFFB, 7] * 4] * 8, dtype=np.uint16)))
    dataset = compressed(make, [data], JPEGLSLossless, np.zeros((8, 8), np.uint16), PixelRepresentation=1)
    assert stored_frame(dataset, 0).values[0, :2].tolist() == [-5, 7]


@pytest.mark.parametrize("interleave", [0, 1, 2])
def test_jpeg_ls_in_colours(make: Make, interleave: int) -> None:
    rgb = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    source = rgb.transpose(2, 0, 1) if interleave == 0 else rgb
    data = bytes(jpeg_ls.encode_array(np.ascontiguousarray(source), interleave_mode=interleave))
    assert np.array_equal(stored_frame(compressed(make, [data], JPEGLSLossless, rgb), 0).values, rgb)


@pytest.mark.parametrize("photometric", ["YBR_RCT", "RGB"])
def test_jpeg_2000_undoes_its_own_colours(make: Make, photometric: str) -> None:
    rgb = RNG.integers(0, 256, (64, 64, 3)).astype(np.uint8)
    data = bytes(openjpeg.utils.encode_array(rgb, photometric_interpretation=1, use_mct=True))
    dataset = compressed(make, [data], JPEG2000, rgb, PhotometricInterpretation=photometric)
    found = stored_frame(dataset, 0)
    assert found.photometric == "RGB"
    assert np.array_equal(found.values, rgb)


def test_jpeg_is_rgb_where_it_says_so(make: Make) -> None:
    """Grey in YCbCr has no colour; the same numbers as R, G, B have."""
    picture = Image.new("RGB", (16, 16), (200, 50, 50))
    pixels = np.zeros((16, 16, 3), np.uint8)
    for header, data in (
        ("YBR_FULL_422", jpeg(picture)),
        ("RGB", jpeg(picture)),  # JFIF: it is YCbCr, whatever the header says
        ("YBR_FULL", jpeg(picture, keep_rgb=True)),  # component names R, G, B
    ):
        dataset = compressed(make, [data], JPEGBaseline8Bit, pixels, PhotometricInterpretation=header)
        assert np.abs(stored_frame(dataset, 0).values[8, 8].astype(int) - [200, 50, 50]).max() < 6


def test_frames_by_every_table(make: Make) -> None:
    frames = np.arange(192, dtype=np.uint8).reshape(3, 8, 8)
    data = [bytes(jpeg_ls.encode_array(frame)) for frame in frames]
    dataset = compressed(make, data, JPEGLSLossless, frames[0], NumberOfFrames=3)
    assert all(np.array_equal(stored_frame(dataset, n).values, frames[n]) for n in range(3))
    dataset.PixelData = encapsulate(data, has_bot=False)
    assert all(np.array_equal(stored_frame(dataset, n).values, frames[n]) for n in range(3))
    dataset.PixelData, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = encapsulate_extended(data)
    assert all(np.array_equal(stored_frame(dataset, n).values, frames[n]) for n in range(3))
    assert reason_of(dataset, 3) is Reason.DECODE_FAILED


def test_one_frame_does_not_need_the_others(make: Make) -> None:
    good = bytes(jpeg_ls.encode_array(np.full((8, 8), 9, np.uint8)))
    dataset = compressed(make, [b"rubbish!", good], JPEGLSLossless, np.zeros((8, 8), np.uint8), NumberOfFrames=2)
    assert stored_frame(dataset, 1).values.max() == 9
    assert reason_of(dataset, 0) is Reason.DECODE_FAILED


@pytest.mark.parametrize("syntax", [MPEG4HP41, "1.2.840.10008.1.2.4.94", JPEG2000MCLossless, "1.2.3", ""])
def test_syntaxes_nobody_decodes(make: Make, syntax: str) -> None:
    dataset = make()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    assert reason_of(dataset) is Reason.UNSUPPORTED_SYNTAX


@pytest.mark.parametrize(
    "header",
    [
        {"BitsAllocated": 12}, {"BitsAllocated": 64}, {"BitsStored": 0}, {"BitsStored": 17}, {"SamplesPerPixel": 2},
        {"PhotometricInterpretation": "HSV"}, {"PhotometricInterpretation": "YBR_PARTIAL_420"}, {"Rows": 0},
        {"NumberOfFrames": 1 << 25}, {"SamplesPerPixel": 3, "PhotometricInterpretation": "YBR_FULL"},
    ],
)  # fmt: skip
def test_pixels_nobody_reads(make: Make, header: dict[str, Any]) -> None:
    assert reason_of(make(**header)) is Reason.UNSUPPORTED_PIXELS


def test_ybr_rct_outside_jpeg_2000_is_a_contradiction(make: Make) -> None:
    dataset = make(np.zeros((2, 2, 3), np.uint8), PhotometricInterpretation="YBR_RCT")
    assert reason_of(dataset) is Reason.UNSUPPORTED_PIXELS


def test_larger_than_any_image(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout_module, "FRAME_LIMIT", 31)
    assert reason_of(make()) is Reason.TOO_LARGE  # 4 × 4 of 16 bits


@pytest.mark.parametrize(
    ("syntax", "data"),
    [
        (JPEGLSLossless, bytes(jpeg_ls.encode_array(np.zeros((9, 8), np.uint8)))),
        (JPEG2000Lossless, bytes(openjpeg.utils.encode_array(np.zeros((64, 64), np.uint8)))),
        (JPEGBaseline8Bit, jpeg(Image.new("RGB", (8, 8)))),
        (JPEGBaseline8Bit, jpeg(Image.new("L", (8, 16)))),
    ],
)
def test_a_codestream_of_another_size_reaches_no_decoder(make: Make, syntax: str, data: bytes) -> None:
    assert reason_of(compressed(make, [data], syntax, np.zeros((8, 8), np.uint8))) is Reason.DECODE_FAILED


def test_a_codestream_that_wants_gigabytes(make: Make) -> None:
    data = bytearray(jpeg_ls.encode_array(np.zeros((8, 8), np.uint8)))
    struct.pack_into(">HH", data, data.index(b"\xff\xf7") + 5, 65535, 65535)
    assert reason_of(compressed(make, [bytes(data)], JPEGLSLossless, np.zeros((8, 8), np.uint8))) is (
        Reason.DECODE_FAILED
    )


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([RLELossless, "1.2.840.10008.1.2.8.1", HTJ2K]), st.binary(min_size=2, max_size=120))
def test_rubbish_is_left_out(make: Make, syntax: str, data: bytes) -> None:
    dataset = compressed(make, [data], syntax, np.zeros((4, 4), np.uint8))
    try:
        assert stored_frame(dataset, 0).values.shape == (4, 4)
    except LeftOutError as left_out:
        assert left_out.reason is Reason.DECODE_FAILED


def test_deflated_frames_inflate_to_their_size_only(make: Make) -> None:
    import zlib  # noqa: PLC0415

    def deflated(data: bytes) -> bytes:
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        return packer.compress(data) + packer.flush()

    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4)
    good = compressed(make, [deflated(pixels.tobytes())], "1.2.840.10008.1.2.8.1", pixels)
    assert np.array_equal(stored_frame(good, 0).values, pixels)
    bomb = compressed(make, [deflated(bytes(1 << 20))], "1.2.840.10008.1.2.8.1", pixels)
    assert reason_of(bomb) is Reason.DECODE_FAILED
