from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from client.dicom.pixels.palette import expand, rgb_by_palette

Make = Callable[..., Dataset]

COLOURS = ("Red", "Green", "Blue")


def with_palette(make: Make, descriptor: list[int], data: list[bytes], *, segmented: bool = False) -> Dataset:
    dataset: Dataset = make(np.zeros((2, 2), np.uint8), PhotometricInterpretation="PALETTE COLOR")
    for colour, table in zip(COLOURS, data, strict=True):
        dataset.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", descriptor)
        name = f"{'Segmented' if segmented else ''}{colour}PaletteColorLookupTableData"
        dataset.add_new(name, "OW", table)
    return dataset


def rows(dataset: Dataset, stored: list[int], dtype: Any = np.uint8, *, signed: bool = False) -> tuple[object, int]:
    rgb, top = rgb_by_palette(dataset, np.array([stored], dtype=dtype), signed=signed)
    return rgb[0].tolist(), top


def words(*numbers: int) -> bytes:
    return np.array(numbers, dtype="<u2").tobytes()


def test_first_and_last_entries_go_on(make: Make) -> None:
    dataset = with_palette(make, [2, 10, 16], [words(0, 65535), words(1, 2), words(3, 4)])
    assert rows(dataset, [0, 10, 11, 255]) == ([[0, 1, 3], [0, 1, 3], [65535, 2, 4], [65535, 2, 4]], 65535)


def test_eight_bit_entries_two_to_a_word(make: Make) -> None:
    dataset = with_palette(make, [3, 0, 8], [b"\x01\x02\x03\x00"] * 3)
    assert rows(dataset, [0, 1, 2]) == ([[1, 1, 1], [2, 2, 2], [3, 3, 3]], 255)


def test_eight_bit_entries_in_words_of_sixteen(make: Make) -> None:
    # the note in PS3.3 C.7.6.3.1.5
    dataset = with_palette(make, [2, 0, 8], [words(0, 255)] * 3)
    assert rows(dataset, [0, 1]) == ([[0, 0, 0], [255, 255, 255]], 255)


def test_a_first_value_below_zero(make: Make) -> None:
    dataset = with_palette(make, [2, 65535, 16], [words(7, 8)] * 3)
    assert rows(dataset, [-1, 0], np.int16, signed=True) == ([[7, 7, 7], [8, 8, 8]], 65535)


def test_segments(make: Make) -> None:
    # discrete 10 20, linear to 50 in 3 steps, both again from byte 0 (PS3.3 C.7.9.2)
    segments = words(0, 2, 10, 20, 1, 3, 50, 2, 1, 0, 0)
    dataset = with_palette(make, [7, 0, 16], [segments] * 3, segmented=True)
    found, top = rows(dataset, list(range(7)))
    assert np.array(found)[:, 0].tolist() == [10, 20, 30, 40, 50, 10, 20]
    assert top == 65535


def test_an_offset_counts_bytes() -> None:
    # words: the second segment starts at byte 6, the third repeats it
    assert expand([0, 1, 9, 0, 2, 5, 6, 2, 1, 6, 0], 5, width=2) == [9, 5, 6, 5, 6]
    assert expand([0, 1, 9, 0, 2, 5, 6, 2, 1, 3, 0, 0, 0], 5, width=1) == [9, 5, 6, 5, 6]


@pytest.mark.parametrize(
    "segments",
    [[], [0, 1, 9], [1, 3, 9], [2, 1, 0, 0], [7, 1, 9], [0, 1, 9, 2, 9, 6, 0], [0, 1, 9, 1, 0, 9], [0, 0, 0, 0]],
)
def test_segments_that_are_none(segments: list[int]) -> None:
    with pytest.raises(ValueError, match="segment"):
        expand(segments, 5, width=2)


@given(st.lists(st.integers(0, 255), max_size=30), st.integers(1, 300), st.sampled_from([1, 2]))
def test_segments_never_give_more_than_asked(segments: list[int], entries: int, width: int) -> None:
    try:
        table = expand(segments, entries, width=width)
    except ValueError:
        return
    assert len(table) == entries


@pytest.mark.parametrize(
    ("descriptor", "data"),
    [([2, 0, 12], words(1, 2)), ([5, 0, 16], words(1, 2)), ([2, 0], words(1, 2)), ([2, 0, 16], b"")],
)
def test_a_damaged_palette_is_refused(make: Make, descriptor: list[int], data: bytes) -> None:
    with pytest.raises(ValueError):
        rows(with_palette(make, descriptor, [data] * 3), [0])


def test_colours_of_different_lengths_are_refused(make: Make) -> None:
    dataset = with_palette(make, [2, 0, 16], [words(1, 2)] * 3)
    dataset.GreenPaletteColorLookupTableDescriptor = [1, 0, 16]
    with pytest.raises(ValueError, match="one length"):
        rows(dataset, [0])
