"""Look-up tables of whole numbers: modality LUT and VOI LUT (PS3.3 C.11.1.1 and C.11.2.1.1)."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from client.dicom.pixels.values import words

Values = NDArray[np.float64]

_DESCRIPTOR, _DATA = 0x00283002, 0x00283006


@dataclass(frozen=True, eq=False)
class Lut:
    """`table[0]` is for the value `first` and everything below, the last entry for everything above. `top`: the largest
    value that an entry can have."""

    first: int
    top: int
    table: Values = field(repr=False)

    def __call__(self, values: Values | NDArray[np.int64]) -> Values:
        """The entries for `values`, which are rounded to whole numbers first."""
        index = np.clip(np.rint(values) - self.first, 0, len(self.table) - 1).astype(np.int64)
        entries: Values = self.table[index]
        return entries


def lut_of(item: Dataset, *, signed: bool) -> Lut:
    """The table in the sequence item `item`. `signed`: its input may be negative, so that its first value is a signed
    word, whatever VR it was written with. Raises ValueError."""
    descriptor = words(item, _DESCRIPTOR)
    if len(descriptor) != 3:
        raise ValueError("a LUT descriptor of three numbers")
    entries, first, bits = int(descriptor[0]) or 1 << 16, int(descriptor[1]), int(descriptor[2])
    table = words(item, _DATA)
    if bits <= 8 and entries <= 2 * len(table) < 2 * entries:  # two 8-bit entries per word
        table = np.frombuffer(table.astype("<u2").tobytes(), np.uint8).astype(np.uint16)
    if not len(table) or not 1 <= bits <= 16:
        raise ValueError("a LUT with entries of 1 to 16 bits")
    if signed and first >= 1 << 15:
        first -= 1 << 16
    return Lut(first, (1 << bits) - 1, table[:entries].astype(np.float64))
