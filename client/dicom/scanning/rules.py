"""What a header alone says against using an image: small rules in a fixed order, the first that speaks decides."""

from collections.abc import Callable

from client.dicom.pixels.syntaxes import DECODERS
from client.dicom.reasons import Reason
from client.dicom.scanning.elements import DOUBLE_PIXELS, FLOAT_PIXELS
from client.dicom.scanning.header import Header

#: Of one frame, larger than any detector: 16 k × 16 k; of all frames: twice the largest tomosynthesis.
PIXELS_LIMIT = 1 << 28
ALL_PIXELS_LIMIT = 1 << 32
FRAMES_LIMIT = 1 << 16

GREY = frozenset(("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"))
_FLOAT_BITS = {FLOAT_PIXELS: 32, DOUBLE_PIXELS: 64}
COLOUR = frozenset(("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT"))


def fault(header: Header) -> Reason | None:
    """Why this object can never be used, or None."""
    return next((reason for reason, broken in _RULES if broken(header)), None)


def _supported(header: Header) -> bool:
    """Whole numbers in one of the photometric interpretations of PS3.3 C.7.6.3.1.2 that we read, or grey floats."""
    if header.pixels in _FLOAT_BITS:  # PS3.3 C.7.6.24 and C.7.6.25
        grey = header.samples == 1 and header.photometric in ("MONOCHROME1", "MONOCHROME2")
        return grey and header.bits_allocated == _FLOAT_BITS[header.pixels] and header.rows * header.columns > 0
    samples = 1 if header.photometric in GREY else 3 if header.photometric in COLOUR else 0
    return (
        header.samples == samples
        and header.bits_allocated in (1, 8, 16, 32)
        and 0 < header.bits_stored <= header.bits_allocated
        and header.rows * header.columns > 0
        and (samples == 1 or header.bits_allocated == 8 or header.photometric == "RGB")
    )


def _too_large(header: Header) -> bool:
    pixels = header.rows * header.columns
    return pixels > PIXELS_LIMIT or header.frames > FRAMES_LIMIT or pixels * header.frames > ALL_PIXELS_LIMIT


def _native_bytes(header: Header) -> int:
    """The least bytes the frames take; fragments' length is UNDEFINED, more than any. 4:2:2 stores two samples per
    pixel instead of three (PS3.3 C.7.6.3.1.2)."""
    samples = 2 if header.photometric == "YBR_FULL_422" else header.samples
    return (header.rows * header.columns * header.frames * samples * header.bits_allocated + 7) // 8


_RULES: tuple[tuple[Reason, Callable[[Header], bool]], ...] = (
    (Reason.NO_PIXELS, lambda header: not header.pixels),
    (Reason.TRUNCATED, lambda header: not header.complete),
    # PS3.3 C.7.6.1.1.2 and C.8.2.1.1.1: value 3 of Image Type
    (Reason.LOCALIZER, lambda header: "LOCALIZER" in header.image_type),
    (Reason.TOO_LARGE, _too_large),
    (Reason.UNSUPPORTED_SYNTAX, lambda header: header.transfer_syntax not in DECODERS),
    (Reason.UNSUPPORTED_PIXELS, lambda header: not _supported(header)),
    (Reason.TRUNCATED, lambda header: header.length < _native_bytes(header)),
    (Reason.BURNED_IN, lambda header: header.burned_in == "YES"),
)
