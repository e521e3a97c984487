"""A grey frame, whose every transform is a function of the stored value alone (PS3.3 C.11, PS3.4 N.2).

So each transform is computed once per value that occurs, at most 65,536 times for 16 bits, and the picture is gathered
from the result by one look-up per pixel; percentiles come exactly from counts. The values are the same, bit for bit, as
if every pixel went through the transforms.

Order, as DICOM.md §8: padding is found on stored values, then the modality transform, then the window, then polarity;
padding ends black whatever the polarity.

    >>> grey = grey_plane(dataset, 0)
    >>> grey.shown(spec)  # float32 [rows, columns] in [0, 1]
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from client.dicom.pixels.intensity import Levels, Mask, modality_transform, padding_mask, window_speaks_of_stored
from client.dicom.pixels.layout import GREY
from client.dicom.pixels.lut import Values
from client.dicom.pixels.native import Cells
from client.dicom.pixels.spacing import Spacing, spacing_of
from client.dicom.pixels.stored import Stored, stored_frame
from client.dicom.pixels.voi import Between, Voi, Window, file_voi, percentiles
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning.header import MALFORMED
from shared.study import Input

#: Of what is not padding; the darkest and the brightest hundredth are often not the patient.
DARKEST, BRIGHTEST = 1.0, 99.0

#: Values at most in a table of all values between the lowest and the highest; beyond, only those that occur.
DENSE = 1 << 16

_SHAPE = 0x20500020


@dataclass(frozen=True)
class Grey:
    """`index` [rows, columns] → the K different `levels` (stored values), their `values` of the modality, whether they
    are `padding`; `voi`: what the file says of brightness, None if nothing; it is for stored values where
    `voi_on_stored`; `inverted`: low values are to be shown bright."""

    index: NDArray[np.unsignedinteger] = field(repr=False)
    levels: Levels = field(repr=False)
    values: Values = field(repr=False)
    padding: Mask = field(repr=False)
    voi: Voi | None
    voi_on_stored: bool
    inverted: bool
    spacing: Spacing

    @property
    def stored(self) -> Levels:
        """Stored values [rows, columns]."""
        return self.levels[self.index]

    @property
    def physical(self) -> Values:
        """Values of the modality [rows, columns]: Hounsfield units, activity, ..."""
        return self.values[self.index]

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """How often each level occurs [K], padding not counted."""
        counts = np.bincount(self.index.ravel(), minlength=len(self.levels))
        counts[self.padding] = 0
        return counts

    def shown(self, spec: Input) -> NDArray[np.float32]:
        """float32 [rows, columns] in [0, 1], as the study's window asks; a file without one falls back to percentiles."""
        return self.through(*self.voi_for(spec))

    def voi_for(self, spec: Input) -> tuple[Voi, bool]:
        """What the study's window means for this frame alone, and whether it is for stored values."""
        if isinstance(spec.window, tuple):
            return Window(*spec.window), False
        if spec.window == "file" and self.voi is not None:
            return self.voi, self.voi_on_stored
        return between_percentiles((self,)), False

    def through(self, voi: Voi, on_stored: bool = False) -> NDArray[np.float32]:
        """float32 [rows, columns] in [0, 1], 0 where padding: `voi` on values of the modality or on stored ones."""
        return self.table(voi, on_stored)[self.index]

    def table(self, voi: Voi, on_stored: bool = False) -> NDArray[np.float32]:
        """The brightness of each level [K]."""
        shown = voi(self.levels.astype(np.float64) if on_stored else self.values)
        if self.inverted:
            shown = 1 - shown
        shown[self.padding] = 0
        return shown.astype(np.float32)


def between_percentiles(greys: Iterable[Grey]) -> Between:
    """From the 1st to the 99th percentile of all values in `greys` that are not padding: one frame, or the slices of a
    volume together."""
    several = tuple(greys)
    values = np.concatenate([grey.values for grey in several])
    counts = np.concatenate([grey.counts for grey in several])
    return Between(*(percentiles(values, counts, (DARKEST, BRIGHTEST)) or (0.0, 0.0)))


def grey_plane(dataset: Dataset, frame: int) -> Grey:
    """Frame `frame`, from 0, of a grey object. Raises LeftOutError (unsupported_pixels for one in colours)."""
    return grey_of(dataset, frame, stored_frame(dataset, frame))


def grey_of(dataset: Dataset, frame: int, stored: Stored) -> Grey:
    """`stored`, frame `frame` of `dataset`. Raises LeftOutError."""
    if stored.photometric not in GREY:
        raise LeftOutError(Reason.UNSUPPORTED_PIXELS)
    try:
        return _grey_of(dataset, frame, stored)
    except MALFORMED:
        raise LeftOutError(Reason.DECODE_FAILED) from None


def _grey_of(dataset: Dataset, frame: int, stored: Stored) -> Grey:
    index, levels = indexed(stored.values)
    padding = padding_mask(dataset, levels, stored.layout)
    values = modality_transform(dataset, frame, signed=stored.layout.signed)(np.where(padding, 0, levels))
    on_stored = window_speaks_of_stored(dataset, frame)
    lowest = levels[0] if on_stored else values.min()
    return Grey(
        index=index,
        levels=levels,
        values=values,
        padding=padding,
        voi=file_voi(dataset, frame, signed=bool(lowest < 0)),
        voi_on_stored=on_stored,
        inverted=_inverted(dataset, stored.photometric),
        spacing=spacing_of(dataset, frame),
    )


def indexed(stored: Cells) -> tuple[NDArray[np.unsignedinteger], Levels]:
    """`stored` [rows, columns] → (index [rows, columns], levels [K], rising) with levels[index] == stored."""
    if stored.dtype.kind == "f":
        some, index = np.unique(stored, return_inverse=True)
        return index.reshape(stored.shape).astype(np.uint32), some.astype(np.float64)
    low, high = int(stored.min()), int(stored.max())
    if high - low < DENSE:
        levels = np.arange(low, high + 1, dtype=np.int64)
        if stored.dtype.itemsize > 2:
            return (stored - stored.dtype.type(low)).astype(np.uint16), levels
        unsigned = np.dtype(f"u{stored.dtype.itemsize}")
        # modulo 2 ** 8 or 2 ** 16, so the sign does not matter
        offset = unsigned.type(low % (1 << 8 * unsigned.itemsize))
        return np.ascontiguousarray(stored).view(unsigned) - offset, levels
    some, index = np.unique(stored, return_inverse=True)
    return index.reshape(stored.shape).astype(np.uint32), some.astype(np.int64)


def _inverted(dataset: Dataset, photometric: str) -> bool:
    """Whether low values are to be shown bright: MONOCHROME1, which DX says a second time as Presentation LUT
    Shape INVERSE (PS3.3 C.7.6.3.1.2, C.8.11.3.1.2, C.11.6)."""
    return photometric == "MONOCHROME1" or str(dataset.get(_SHAPE, "")).find("INVERSE") >= 0
