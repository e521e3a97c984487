"""What a header alone says against using an image: small rules in a fixed order, the first that speaks decides."""

from collections.abc import Callable

from client.dicom.pixels.syntaxes import DECODERS
from client.dicom.reasons import Reason
from client.dicom.scanning.elements import PIXELS
from client.dicom.scanning.header import Header

#: Larger than any detector: 16 k × 16 k.
PIXELS_LIMIT = 1 << 28

GREY = frozenset(("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"))
COLOUR = frozenset(("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT"))


def fault(header: Header) -> Reason | None:
    """Why this object can never be used, or None."""
    return next((reason for reason, broken in _RULES if broken(header)), None)


def _supported(header: Header) -> bool:
    """Whole-number pixels in one of the photometric interpretations of PS3.3 C.7.6.3.1.2 that we read."""
    samples = 1 if header.photometric in GREY else 3 if header.photometric in COLOUR else 0
    return (
        header.pixels == PIXELS
        and header.samples == samples
        and header.bits_allocated in (1, 8, 16, 32)
        and 0 < header.bits_stored <= header.bits_allocated
        and 0 < header.rows * header.columns <= PIXELS_LIMIT
        and (samples == 1 or header.bits_allocated == 8 or header.photometric == "RGB")
    )


def _native_bytes(header: Header) -> int:
    """The least bytes one frame takes; fragments' length is UNDEFINED, more than any. 4:2:2 stores two samples per
    pixel instead of three (PS3.3 C.7.6.3.1.2)."""
    samples = 2 if header.photometric == "YBR_FULL_422" else header.samples
    return (header.rows * header.columns * samples * header.bits_allocated + 7) // 8


_RULES: tuple[tuple[Reason, Callable[[Header], bool]], ...] = (
    (Reason.NO_PIXELS, lambda header: not header.pixels),
    (Reason.TRUNCATED, lambda header: not header.complete),
    # PS3.3 C.7.6.1.1.2 and C.8.2.1.1.1: value 3 of Image Type
    (Reason.LOCALIZER, lambda header: "LOCALIZER" in header.image_type),
    (Reason.MULTI_FRAME, lambda header: header.frames != 1),
    (Reason.UNSUPPORTED_SYNTAX, lambda header: header.transfer_syntax not in DECODERS),
    (Reason.UNSUPPORTED_PIXELS, lambda header: not _supported(header)),
    (Reason.TRUNCATED, lambda header: header.length < _native_bytes(header)),
    (Reason.BURNED_IN, lambda header: header.burned_in == "YES"),
)
