"""How far apart the pixels of a frame are.

Rules: most trustworthy first: pixel spacing, of the frame if it has its own; spacing at the detector (magnified, so
larger than in the patient); nominal scanned spacing; the mere ratio. Rows first, then columns, never swapped (PS3.3
10.7.1.1, C.7.6.3.1.7). Ratios beyond 1 : 10 are believed of no detector, nor distances below a nanometre or above
100 m.
"""

from dataclasses import dataclass

from pydicom.dataset import Dataset

from client.dicom.pixels.functional import PIXEL_MEASURES, macro
from client.dicom.pixels.values import decimals

_PIXEL, _IMAGER, _NOMINAL, _ASPECT = 0x00280030, 0x00181164, 0x00182010, 0x00280034
#: mm; beyond them arithmetic ends before sense does.
_LEAST, _MOST = 1e-6, 1e5


@dataclass(frozen=True)
class Spacing:
    """Distance of rows and of columns; in mm, or only in one another."""

    row: float = 1.0
    column: float = 1.0
    millimetres: bool = False


def spacing_of(dataset: Dataset, frame: int) -> Spacing:
    """The spacing of frame `frame`; square pixels where the header gives nothing usable."""
    measures = macro(dataset, frame, PIXEL_MEASURES)
    sources = [] if measures is None else [(measures, _PIXEL)]
    sources += [(dataset, tag) for tag in (_PIXEL, _IMAGER, _NOMINAL, _ASPECT)]
    for source, tag in sources:
        numbers = _numbers(source, tag)
        if len(numbers) == 2:
            row, column = numbers
            if min(numbers) > _LEAST and max(numbers) < _MOST and 0.1 <= row / column <= 10:
                return Spacing(row, column, millimetres=tag != _ASPECT)
    return Spacing()


def _numbers(source: Dataset, tag: int) -> tuple[float, ...]:
    """The numbers of an element; of one that cannot be read, none, so that the next is asked."""
    try:
        return decimals(source, tag)
    except ValueError:
        return ()
