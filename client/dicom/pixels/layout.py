"""How the pixel cells of an object lie in its pixel data: the Image Pixel module, read and checked (PS3.3 C.7.6.3).

Guarantees: a `Layout` is one that the decoders understand, of a size that fits into memory; anything else is left out
with its reason before a decoder sees a byte.
"""

from dataclasses import dataclass

from pydicom.dataset import Dataset

from client.dicom.pixels.syntaxes import DECODERS
from client.dicom.pixels.values import text, whole
from client.dicom.plain import plain
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning.elements import DOUBLE_PIXELS, FLOAT_PIXELS, PIXELS

#: Bytes of one decoded frame: 16 k × 16 k of 16 bits, and far more than any of three colours.
FRAME_LIMIT = 1 << 29
#: More frames than any object holds; also bounds the arithmetic.
FRAMES_LIMIT = 1 << 24

GREY = frozenset(("MONOCHROME1", "MONOCHROME2"))
PALETTE = "PALETTE COLOR"
#: YBR_RCT and YBR_ICT only in JPEG 2000, whose decoder undoes them (PS3.5 8.2.4)
COLOUR = frozenset(("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT"))

_SAMPLES, _PHOTOMETRIC, _PLANAR, _FRAMES, _ROWS, _COLUMNS = (
    0x00280002, 0x00280004, 0x00280006, 0x00280008, 0x00280010, 0x00280011,
)  # fmt: skip
_ALLOCATED, _STORED, _HIGH, _SIGNED = 0x00280100, 0x00280101, 0x00280102, 0x00280103


@dataclass(frozen=True)
class Layout:
    """`element`: the tag of the pixel data; `allocated`, `bits`, `high`: Bits Allocated, Bits Stored, High Bit;
    `planar`: colours lie one after the other; `frames`: how many frames the object says it has, at least 1."""

    syntax: str
    element: int
    rows: int
    columns: int
    samples: int
    photometric: str
    planar: bool
    allocated: int
    bits: int
    high: int
    signed: bool
    frames: int

    @property
    def pixels(self) -> int:
        """Of one frame."""
        return self.rows * self.columns

    @property
    def big_endian(self) -> bool:
        """Whether native words have their high byte first (PS3.5 A.3)."""
        return self.syntax == "1.2.840.10008.1.2.2"


def layout_of(dataset: Dataset) -> Layout:
    """The layout of `dataset`. Raises LeftOutError (no_pixels, unsupported_syntax, unsupported_pixels, too_large)."""
    element = next((tag for tag in (PIXELS, FLOAT_PIXELS, DOUBLE_PIXELS) if tag in dataset), 0)
    if not element:
        raise LeftOutError(Reason.NO_PIXELS)
    syntax = plain(dataset.file_meta.get("TransferSyntaxUID", "")) if hasattr(dataset, "file_meta") else ""
    if syntax not in DECODERS:
        raise LeftOutError(Reason.UNSUPPORTED_SYNTAX)
    allocated = whole(dataset, _ALLOCATED) or 0
    bits = allocated if element != PIXELS else whole(dataset, _STORED) or 0
    high = whole(dataset, _HIGH)
    layout = Layout(
        syntax=syntax,
        element=element,
        rows=whole(dataset, _ROWS) or 0,
        columns=whole(dataset, _COLUMNS) or 0,
        samples=whole(dataset, _SAMPLES) or 0,
        photometric=text(dataset, _PHOTOMETRIC),
        planar=whole(dataset, _PLANAR) == 1,
        allocated=allocated,
        bits=bits,
        high=bits - 1 if high is None else high,
        signed=whole(dataset, _SIGNED) == 1,
        frames=int(text(dataset, _FRAMES) or 1) or 1,
    )
    _check(layout)
    return layout


def _check(layout: Layout) -> None:
    """Raises LeftOutError for what the decoders do not read."""
    samples = 3 if layout.photometric in COLOUR else 1 if layout.photometric in GREY | {PALETTE} else 0
    if layout.element == PIXELS:
        whole_numbers = layout.allocated in (1, 8, 16, 32) and 0 < layout.bits <= layout.allocated
        fits = whole_numbers and (samples == 1 or layout.allocated == 8 or layout.photometric == "RGB")
    else:  # PS3.3 C.7.6.24 and C.7.6.25: one sample, native
        fits = layout.allocated == (32 if layout.element == FLOAT_PIXELS else 64)
        fits = fits and layout.photometric in GREY and not DECODERS[layout.syntax]
    if not (fits and layout.samples == samples and layout.pixels and 0 < layout.frames <= FRAMES_LIMIT):
        raise LeftOutError(Reason.UNSUPPORTED_PIXELS)
    if layout.pixels * samples * max(layout.allocated // 8, 1) > FRAME_LIMIT:
        raise LeftOutError(Reason.TOO_LARGE)
