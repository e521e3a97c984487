import contextlib
import io
import struct

import jpeg_ls
import numpy as np
import openjpeg.utils
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from client.dicom.pixels.codestream import described

GREY = np.arange(40 * 48, dtype=np.uint16).reshape(40, 48)


def jpeg(mode: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (48, 40)).save(file, "JPEG", **options)
    return file.getvalue()


def test_jpeg() -> None:
    code = described(jpeg("L"))
    assert (code.rows, code.columns, code.components, code.precision, code.jfif) == (40, 48, 1, 8, True)
    colour = described(jpeg("RGB", progressive=True))
    assert (colour.components, colour.ids, colour.jfif) == (3, (1, 2, 3), True)
    # fill bytes before a marker (ISO/IEC 10918-1 B.1.1.2)
    data = jpeg("L")
    assert described(data[:2] + b"\xff\xff" + data[2:]).rows == 40


def test_jpeg_ls() -> None:
    code = described(bytes(jpeg_ls.encode_array(GREY)))
    assert (code.rows, code.columns, code.components, code.precision) == (40, 48, 1, 11)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("container", [0, 1])
def test_jpeg_2000(signed: bool, container: int) -> None:
    pixels = GREY.astype(np.int16) if signed else GREY
    data = bytes(openjpeg.utils.encode_array(pixels, bits_stored=12, codec_format=container))
    code = described(data)
    assert (code.rows, code.columns, code.components, code.precision, code.signed) == (40, 48, 1, 12, signed)


def test_an_offset_of_the_image_area_counts() -> None:
    data = bytearray(openjpeg.utils.encode_array(GREY, bits_stored=12))
    struct.pack_into(">I", data, 16, 8)  # XOsiz
    assert described(bytes(data)).columns == 40


@given(st.binary(max_size=60), st.sampled_from([b"", b"\xff\xd8", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  jp2c"]))
def test_any_bytes_are_described_or_a_value_error(tail: bytes, head: bytes) -> None:
    with contextlib.suppress(ValueError):
        described(head + tail)
