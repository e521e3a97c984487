"""Palettes: stored values → red, green and blue (PS3.3 C.7.6.3.1.5 and C.7.9), segmented ones included (C.7.9.2).

A supplemental palette is not for the values of a grey image and is not looked at (C.7.6.19).
"""

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from client.dicom.pixels.native import Cells
from client.dicom.pixels.values import words

Table = NDArray[np.unsignedinteger]

#: Tags of the descriptor, the data and the segmented data, for red, green and blue
_COLOURS = (
    (0x00281101, 0x00281201, 0x00281221),
    (0x00281102, 0x00281202, 0x00281222),
    (0x00281103, 0x00281203, 0x00281223),
)
_DISCRETE, _LINEAR, _INDIRECT = 0, 1, 2


def rgb_by_palette(dataset: Dataset, stored: Cells, *, signed: bool) -> tuple[Table, int]:
    """`stored` [rows, columns] → [rows, columns, 3], and the value that is full brightness. Raises ValueError."""
    tables = [_table(dataset, *tags) for tags in _COLOURS]
    tops = {top for _, top in tables}
    if len(tops) != 1 or len({len(table) for table, _ in tables}) != 1:
        raise ValueError("three tables of one length and depth")
    first = int(words(dataset, _COLOURS[0][0])[1])
    if signed and first >= 1 << 15:
        first -= 1 << 16
    palette = np.stack([table for table, _ in tables], axis=-1)
    index = np.clip(stored.astype(np.int64) - first, 0, len(palette) - 1)
    return palette[index], tops.pop()


def _table(dataset: Dataset, descriptor_tag: int, data_tag: int, segmented_tag: int) -> tuple[Table, int]:
    descriptor = words(dataset, descriptor_tag)
    if len(descriptor) != 3 or int(descriptor[2]) not in (8, 16):
        raise ValueError("a palette's descriptor of three numbers, with 8 or 16 bits")
    entries, bits = int(descriptor[0]) or 1 << 16, int(descriptor[2])
    data: Table = words(dataset, data_tag)
    if not len(data):
        segments = words(dataset, segmented_tag)
        some: Table = segments if bits == 16 else np.frombuffer(segments.astype("<u2").tobytes(), np.uint8)
        table: Table = np.array(expand(some.tolist(), entries, width=bits // 8), dtype=some.dtype)
    elif 2 * len(data) in (entries, entries + 1):  # 8-bit entries, two to a word
        table = np.frombuffer(data.astype("<u2").tobytes(), np.uint8)
        bits = 8
    else:
        table = data
    if len(table) < entries:
        raise ValueError("a palette of as many entries as it says")
    # entries of 8 bits in words of 16, as the note in C.7.6.3.1.5 tolerates
    wide = table.dtype.itemsize > 1 and (bits == 16 or table.max() > 0xFF)
    return table[:entries], 0xFFFF if wide else 0xFF


def expand(segments: list[int], entries: int, *, width: int) -> list[int]:
    """The entries that `segments`, words (`width` 2) or bytes (1) of a segmented palette, stand for (PS3.3 C.7.9.2).
    Stops at `entries`. Raises ValueError if they are not reached."""
    table: list[int] = []
    position = 0
    while len(table) < entries and position + 1 < len(segments):
        if segments[position] == _INDIRECT:
            position = _copied(segments, position, table, entries, width)
        else:
            position = _segment(segments, position, table)
    if len(table) < entries:
        raise ValueError("segments of all entries")
    return table[:entries]


def _segment(segments: list[int], position: int, table: list[int]) -> int:
    """Append what the segment at `position` stands for; the position behind it. Raises ValueError."""
    kind, length = segments[position], segments[position + 1]
    position += 2
    if kind == _DISCRETE:
        table += segments[position : position + length]
        return position + length
    if kind == _LINEAR and table and length and position < len(segments):
        start, end = table[-1], segments[position]
        table += np.rint(start + (end - start) * np.arange(1, length + 1) / length).astype(int).tolist()
        return position + 1
    raise ValueError("a segment of a palette")


def _copied(segments: list[int], position: int, table: list[int], entries: int, width: int) -> int:
    """As `_segment`, for one that repeats others from a 32-bit offset in bytes, the low word first. Those are no
    repetitions themselves (C.7.9.2.3)."""
    count, parts = segments[position + 1], 4 // width
    offset = segments[position + 2 : position + 2 + parts]
    source = sum(value << (8 * width * number) for number, value in enumerate(offset)) // width
    for _ in range(count):
        if len(table) >= entries or source + 1 >= len(segments):
            break
        source = _segment(segments, source, table)
    return position + 2 + parts
