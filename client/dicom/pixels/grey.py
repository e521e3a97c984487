"""A grey frame, whose every transform is a function of the stored value alone (PS3.3 C.11, PS3.4 N.2).

So each transform is computed once per value that occurs, at most 65,536 times for 16 bits, and the picture is gathered
from the result by one look-up per pixel; percentiles come exactly from counts. The values are the same, bit for bit, as
if every pixel went through the transforms.

Order, as DICOM.md §8: padding is found on stored values, then the modality transform, then the window, then polarity;
padding ends black whatever the polarity.

    >>> grey = grey_plane(dataset, 0)
    >>> grey.shown(spec)  # float32 [rows, columns] in [0, 1]
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from client.dicom.pixels.intensity import (
    Levels,
    Mask,
    Rescale,
    modality_transform,
    padding_mask,
    window_speaks_of_stored,
)
from client.dicom.pixels.layout import GREY
from client.dicom.pixels.lut import Lut, Values
from client.dicom.pixels.native import Cells
from client.dicom.pixels.spacing import Spacing, spacing_of
from client.dicom.pixels.stored import Stored, stored_frame
from client.dicom.pixels.voi import Between, Linear, Window, file_voi, percentiles
from client.dicom.plain import plain
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning.unusual import MALFORMED
from shared.study import Input

#: Of what is not padding; the darkest and the brightest hundredth are often not the patient.
DARKEST, BRIGHTEST = 1.0, 99.0

#: Values at most in a table of all values between the lowest and the highest; beyond, only those that occur.
DENSE = 1 << 16

#: Values beyond it no modality has, and differences of them no float64.
LARGEST = 1e30

#: Pixels looked up at once.
PIECE = 1 << 14

_SHAPE = 0x20500020


@dataclass(frozen=True)
class Grey:
    """`index` [rows, columns] → the K different `levels` (stored values), their `values` of the modality, whether they
    are `padding`; `own`: what the file itself says of brightness, None if nothing; `inverted`: low values are to be
    shown bright."""

    index: NDArray[np.unsignedinteger] = field(repr=False)
    levels: Levels = field(repr=False)
    values: Values = field(repr=False)
    padding: Mask = field(repr=False)
    own: Window | None
    inverted: bool
    spacing: Spacing
    #: what the file says of brightness cannot be read: it is of no use to a study that goes by it
    damaged: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.index.shape
        return rows, columns

    @property
    def stored(self) -> Levels:
        """Stored values [rows, columns]."""
        levels: Levels = self.levels[self.index]
        return levels

    @property
    def physical(self) -> Values:
        """Values of the modality [rows, columns]: Hounsfield units, activity, ..."""
        physical: Values = self.values[self.index]
        return physical

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """How often each level occurs [K], padding not counted."""
        counts = np.bincount(self.index.ravel(), minlength=len(self.levels))
        counts[self.padding] = 0
        return counts

    def cut(self, row: int, column: int, rows: int, columns: int) -> "Grey":
        """The part from (`row`, `column`) on, such as a tile of a mosaic. Raises LeftOutError if it is not inside."""
        part = self.index[row : row + rows, column : column + columns]
        if min(row, column) < 0 or min(rows, columns) < 1 or part.shape != (rows, columns):
            raise LeftOutError(Reason.DECODE_FAILED)
        return replace(self, index=part)

    def window(self, spec: Input) -> Window | None:
        """What the study's window means for this frame; None: percentiles, of this frame or of several together.

        Raises LeftOutError if it is the file's own, which is damaged."""
        if isinstance(spec.window, tuple):
            return Window(Linear(*spec.window))
        if spec.window == "file" and self.damaged:
            raise LeftOutError(Reason.DECODE_FAILED)
        return self.own if spec.window == "file" else None

    def shown(self, spec: Input) -> NDArray[np.float32]:
        """float32 [rows, columns] in [0, 1], as the study's window asks; a file without one: by percentiles."""
        return self.through(self.window(spec) or joint_percentiles((self,)))

    def through(self, window: Window) -> NDArray[np.float32]:
        """float32 [rows, columns] in [0, 1] through `window`, of this frame or of another; 0 where padding."""
        return gather(self.table(window), self.index)

    def table(self, window: Window) -> NDArray[np.float32]:
        """The brightness of each level [K]."""
        if self.own is not None and window.rescale is not None and window.rescale == self.own.rescale:
            shown = window.voi(self.levels.astype(np.float64))  # without the detour
        else:
            shown = window(self.values)
        if self.inverted:
            shown = 1 - shown
        shown[self.padding] = 0
        return shown.astype(np.float32)


def gather(table: NDArray[np.float32], index: NDArray[np.unsignedinteger]) -> NDArray[np.float32]:
    """`table[index]`, in pieces that stay in the processor's cache: numpy widens the index first."""
    flat = index.ravel()
    found = np.empty(flat.size, dtype=np.float32)
    for start in range(0, flat.size, PIECE):
        piece = slice(start, start + PIECE)
        np.take(table, flat[piece], out=found[piece], mode="clip")  # no index is beyond the table
    return found.reshape(index.shape)


def joint_percentiles(greys: Sequence[Grey]) -> Window:
    """From the 1st to the 99th percentile of all values in `greys` that are not padding: one frame, or the slices of a
    volume together."""
    values = np.concatenate([grey.values for grey in greys])
    counts = np.concatenate([grey.counts for grey in greys])
    return Window(Between(*(percentiles(values, counts, (DARKEST, BRIGHTEST)) or (0.0, 0.0))))


def grey_plane(dataset: Dataset, frame: int) -> Grey:
    """Frame `frame`, from 0, of a grey object. Raises LeftOutError (unsupported_pixels for one in colours)."""
    return grey_of(dataset, frame, stored_frame(dataset, frame))


def grey_of(dataset: Dataset, frame: int, stored: Stored) -> Grey:
    """`stored`, frame `frame` of `dataset`. Raises LeftOutError."""
    if stored.photometric not in GREY:
        raise LeftOutError(Reason.UNSUPPORTED_PIXELS)
    try:
        return _grey_of(dataset, frame, stored)
    except (OSError, *MALFORMED):  # OSError: a sequence that ends before its items do
        raise LeftOutError(Reason.DECODE_FAILED) from None


def _grey_of(dataset: Dataset, frame: int, stored: Stored) -> Grey:
    index, levels = indexed(stored.values)
    padding = padding_mask(dataset, levels, stored.layout)
    transform = modality_transform(dataset, frame, signed=stored.layout.signed)
    with np.errstate(over="ignore", invalid="ignore"):
        values = transform(np.where(padding, 0, levels))
    if not (np.abs(values) <= LARGEST).all():  # neither is one that is no number
        raise ValueError("values of a modality")
    own, damaged = _own(dataset, frame, transform, (levels, values))
    return Grey(
        index=index,
        levels=levels,
        values=values,
        padding=padding,
        own=own,
        inverted=_inverted(dataset, stored.photometric),
        spacing=spacing_of(dataset, frame),
        damaged=damaged,
    )


def _own(
    dataset: Dataset, frame: int, transform: Rescale | Lut, found: tuple[Levels, Values]
) -> tuple[Window | None, bool]:
    """What the file says of the brightness of frame `frame`, and whether that cannot be read."""
    try:
        return _own_window(dataset, frame, transform, found), False
    except MALFORMED:
        return None, True


def _own_window(dataset: Dataset, frame: int, transform: Rescale | Lut, found: tuple[Levels, Values]) -> Window | None:
    levels, values = found
    of_stored = isinstance(transform, Rescale) and transform.slope and window_speaks_of_stored(dataset, frame)
    lowest = levels[0] if of_stored else values.min()
    voi = file_voi(dataset, frame, signed=bool(lowest < 0))
    if voi is None:
        return None
    rescale = (transform.slope, transform.intercept) if of_stored and isinstance(transform, Rescale) else None
    return Window(voi, rescale)


def indexed(stored: Cells) -> tuple[NDArray[np.unsignedinteger], Levels]:
    """`stored` [rows, columns] → (index [rows, columns], levels [K], rising) with levels[index] == stored."""
    if stored.dtype.kind == "f":
        some, index = np.unique(stored, return_inverse=True)
        return index.reshape(stored.shape).astype(np.uint32), some.astype(np.float64)
    whole: NDArray[np.integer] = stored.astype(stored.dtype, copy=False)
    low, high = int(whole.min()), int(whole.max())
    if high - low < DENSE:
        levels = np.arange(low, high + 1, dtype=np.int64)
        if stored.dtype.itemsize > 2:
            return (whole - whole.dtype.type(low)).astype(np.uint16), levels
        unsigned = np.dtype(f"u{stored.dtype.itemsize}")
        # modulo 2 ** 8 or 2 ** 16, so the sign does not matter
        offset = unsigned.type(low % (1 << 8 * unsigned.itemsize))
        cells: NDArray[np.unsignedinteger] = np.ascontiguousarray(stored).view(unsigned)
        return cells - offset, levels
    some, index = np.unique(stored, return_inverse=True)
    return index.reshape(stored.shape).astype(np.uint32), some.astype(np.int64)


def _inverted(dataset: Dataset, photometric: str) -> bool:
    """Whether low values are to be shown bright: MONOCHROME1, which DX says a second time as Presentation LUT
    Shape INVERSE (PS3.3 C.7.6.3.1.2, C.8.11.3.1.2, C.11.6)."""
    return photometric == "MONOCHROME1" or plain(dataset.get(_SHAPE, "")).find("INVERSE") >= 0
