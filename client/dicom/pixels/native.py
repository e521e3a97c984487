"""One frame out of native pixel data, by arithmetic alone (PS3.5 8.1 and 8.2, annexes A.1 to A.3 and A.5, section D).

Guarantees: no copy beyond the frame; all frames must be there, one missing byte leaves the object out.
"""

import numpy as np
from numpy.typing import NDArray

from client.dicom.pixels.layout import Layout
from client.dicom.scanning.elements import DOUBLE_PIXELS, FLOAT_PIXELS

Cells = NDArray[np.generic]

_FLOATS = {FLOAT_PIXELS: "f4", DOUBLE_PIXELS: "f8"}


def native_frame(data: bytes, layout: Layout, index: int, *, words: bool = True) -> Cells:
    """Pixel cells of frame `index`: [rows, columns] or [rows, columns, samples] in the machine's byte order, read-only.

    `words`: the VR is OW, which in big endian swaps the bytes of 8-bit cells in pairs. Raises ValueError.
    """
    if layout.allocated == 1:
        return _bits(data, layout, index)
    samples = 2 if layout.photometric == "YBR_FULL_422" else layout.samples
    count = layout.pixels * samples
    kind = _FLOATS.get(layout.element) or f"{'i' if layout.signed else 'u'}{layout.allocated // 8}"
    dtype = np.dtype(kind).newbyteorder(">" if layout.big_endian else "<")
    size = count * dtype.itemsize
    if len(data) < size * layout.frames:
        raise ValueError("pixel data for every frame")
    if layout.big_endian and layout.allocated == 8 and words:
        data, offset = _swapped(data, size * index, size), 0
    else:
        offset = size * index
    cells = np.frombuffer(data, dtype, count, offset).astype(dtype.newbyteorder("="), copy=False)
    return _full_422(cells, layout) if samples == 2 else shaped(cells, layout, planar=layout.planar)


def shaped(cells: Cells, layout: Layout, *, planar: bool) -> Cells:
    """`cells` in a row → [rows, columns] or [rows, columns, samples], from colour by plane where `planar` (PS3.3
    C.7.6.3.1.3)."""
    rows, columns, samples = layout.rows, layout.columns, layout.samples
    if samples == 1:
        return cells.reshape(rows, columns)
    if planar:
        # [samples, rows, columns] -> [rows, columns, samples]
        return cells.reshape(samples, rows, columns).transpose(1, 2, 0)
    return cells.reshape(rows, columns, samples)


def _bits(data: bytes, layout: Layout, index: int) -> Cells:
    """Cells of one bit, the least significant bit of a byte first, frames not aligned to bytes (PS3.5 8.1.1)."""
    count = layout.pixels * layout.samples
    if len(data) * 8 < count * layout.frames:
        raise ValueError("pixel data for every frame")
    first = count * index
    some = np.frombuffer(data, np.uint8)[first // 8 : (first + count + 7) // 8]
    bits = np.unpackbits(some, bitorder="little")[first % 8 : first % 8 + count]
    return shaped(bits, layout, planar=layout.planar)


def _swapped(data: bytes, first: int, size: int) -> bytes:
    """`size` bytes from `first`, out of words whose bytes are swapped."""
    start, stop = first // 2 * 2, (first + size + 1) // 2 * 2
    some = data[start:stop]
    some += b"\0" * (len(some) % 2)
    swapped = np.frombuffer(some, "<u2").byteswap().tobytes()
    return swapped[first - start : first - start + size]


def _full_422(cells: Cells, layout: Layout) -> Cells:
    """Y1 Y2 Cb Cr for two neighbours → [rows, columns, 3]: both get the chroma of their pair (PS3.3 C.7.6.3.1.2)."""
    if layout.columns % 2:
        raise ValueError("an even number of columns")
    pairs = cells.reshape(-1, 4)
    full = np.empty((len(pairs), 2, 3), dtype=cells.dtype)
    full[:, :, 0] = pairs[:, :2]
    full[:, :, 1] = pairs[:, 2:3]
    full[:, :, 2] = pairs[:, 3:4]
    return full.reshape(layout.rows, layout.columns, 3)
