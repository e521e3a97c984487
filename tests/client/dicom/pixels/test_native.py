from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.dicom.pixels.layout import Layout
from client.dicom.pixels.native import native_frame
from client.dicom.scanning.elements import FLOAT_PIXELS, PIXELS

LITTLE, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"


def layout(rows: int, columns: int, **others: Any) -> Layout:
    return replace(Layout(LITTLE, PIXELS, rows, columns, 1, "MONOCHROME2", False, 8, 8, 7, False, 1), **others)


def test_a_frame_is_found_by_arithmetic() -> None:
    data = bytes(range(12))
    assert native_frame(data, layout(2, 2, frames=3), 2).tolist() == [[8, 9], [10, 11]]
    wide = layout(1, 2, allocated=16, frames=3, signed=True)
    assert native_frame(b"\xff\xff" * 6, wide, 1).tolist() == [[-1, -1]]


def test_big_endian_words_and_bytes_in_words() -> None:
    sixteen = layout(1, 2, allocated=16, syntax=BIG)
    assert native_frame(b"\x01\x02\x03\x04", sixteen, 0).tolist() == [[0x0102, 0x0304]]
    # 8 bits as OW: bytes in pairs the other way round, frames of odd length too (PS3.5 8.1.2)
    eight = layout(1, 3, syntax=BIG, frames=2)
    assert native_frame(bytes([1, 0, 3, 2, 5, 4]), eight, 0).tolist() == [[0, 1, 2]]
    assert native_frame(bytes([1, 0, 3, 2, 5, 4]), eight, 1).tolist() == [[3, 4, 5]]
    assert native_frame(bytes(range(6)), eight, 1, words=False).tolist() == [[3, 4, 5]]


def test_colour_by_plane_and_by_pixel() -> None:
    data = bytes(range(6))
    by_pixel = layout(1, 2, samples=3, photometric="RGB")
    assert native_frame(data, by_pixel, 0).tolist() == [[[0, 1, 2], [3, 4, 5]]]
    assert native_frame(data, replace(by_pixel, planar=True), 0).tolist() == [[[0, 2, 4], [1, 3, 5]]]


def test_halved_chroma_is_given_to_both() -> None:
    half = layout(1, 2, samples=3, photometric="YBR_FULL_422")
    assert native_frame(bytes([10, 20, 30, 40]), half, 0).tolist() == [[[10, 30, 40], [20, 30, 40]]]
    with pytest.raises(ValueError, match="even"):
        native_frame(bytes(12), layout(2, 3, samples=3, photometric="YBR_FULL_422"), 0)


def test_floats() -> None:
    data = np.array([1.5, -2], dtype="<f4").tobytes()
    assert native_frame(data, layout(1, 2, allocated=32, element=FLOAT_PIXELS), 0).tolist() == [[1.5, -2.0]]


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.data())
def test_bits_of_frames_that_end_within_a_byte(rows: int, columns: int, frames: int, data: st.DataObject) -> None:
    bits = data.draw(st.lists(st.integers(0, 1), min_size=rows * columns * frames, max_size=rows * columns * frames))
    packed = np.packbits(np.array(bits, dtype=np.uint8), bitorder="little").tobytes()
    found = [native_frame(packed, layout(rows, columns, allocated=1, frames=frames), n) for n in range(frames)]
    assert np.concatenate(found).ravel().tolist() == bits


@pytest.mark.parametrize("allocated", [1, 8, 16, 32])
def test_one_byte_less_is_no_object(allocated: int) -> None:
    one = layout(4, 4, allocated=allocated, frames=2)
    data = bytes(4 * 4 * 2 * allocated // 8)
    native_frame(data, one, 0)
    with pytest.raises(ValueError, match="every frame"):
        native_frame(data[:-1], one, 0)
