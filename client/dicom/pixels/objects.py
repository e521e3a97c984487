"""The bytes of a DICOM file → a data set with what its pixels need, and nothing that names a patient.

Guarantees: costs a fraction of what pydicom takes (values stay raw bytes until somebody asks; groups that say nothing
about pixels are stepped over); the items of the functional groups (PS3.3 C.7.6.16) are split once, so a frame of a
thousand costs no more than one of two; deflated files unfold up to a limit; anything unusual is read by pydicom, with
the same values. Raises nothing but LeftOutError.

    >>> dataset = open_object(path.read_bytes())
    >>> dataset.Rows
    512
"""

import struct
import warnings

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import BaseTag
from pydicom.uid import UID

from client.dicom.pixels.raw import NAMES, Raw, Walk
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning.elements import (
    BIG_ENDIAN,
    DEFLATED,
    IMPLICIT,
    INFLATED_LIMIT,
    TRANSFER_SYNTAX,
    EndedError,
    UnusualError,
    inflate,
)
from client.dicom.scanning.unusual import MALFORMED, UNUSUAL_LIMIT, whole_dataset

#: Groups that say how an image is made of its pixels, and where it lies; 0054: nuclear medicine, 0062: segments, 2050:
#: presentation, 3004: dose grids
KEPT = frozenset((0x0008, 0x0018, 0x0020, 0x0028, 0x0054, 0x0062, 0x2050, 0x3004, 0x5200, 0x7FE0))
#: What tells the tiles of a Siemens mosaic, kept for those only
MOSAIC = frozenset((0x0019, 0x0029, 0x0051))

IMAGE_TYPE = 0x00080008
#: More bytes than any file has
_ANY = 1 << 62
_PIXEL_TAGS = tuple(b"\xe0\x7f" + bytes((element, 0)) for element in (8, 9, 16))

_long = struct.Struct("<I").unpack_from


def open_object(data: bytes, unusual: int = _ANY) -> Dataset:
    """The data set in `data`, the bytes of one file; pydicom is given no more than `unusual` of them.

    Raises LeftOutError (unreadable, truncated, too_large).
    """
    try:
        return _opened(data)
    except EndedError:
        raise LeftOutError(Reason.TRUNCATED) from None
    except UnusualError:
        if len(data) > unusual:
            raise LeftOutError(Reason.TOO_LARGE) from None
        return _ask_pydicom(data)
    except (OSError, *MALFORMED):
        raise LeftOutError(Reason.UNREADABLE) from None


def open_header(data: bytes) -> Dataset:
    """As `open_object`, without pixels: `data` ends where the value of the pixel element would start (PS3.5 7.1)."""
    implicit = data[-8:-4] in _PIXEL_TAGS
    return open_object(data[: -8 if implicit else -12], UNUSUAL_LIMIT)


def _ask_pydicom(data: bytes) -> Dataset:
    whole = whole_dataset(data, INFLATED_LIMIT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tags = [tag for tag in whole.keys() if tag.group in KEPT | MOSAIC]  # noqa: SIM118 - it is no dict
            dataset = Dataset({tag: whole.get_item(tag) for tag in tags})
            dataset.file_meta = whole.file_meta
            implicit, little = whole.original_encoding
            dataset.set_original_encoding(implicit, little)
            return dataset
    except (OSError, *MALFORMED):
        raise LeftOutError(Reason.UNREADABLE) from None


def _opened(data: bytes) -> Dataset:
    """`data` with preamble and meta header (PS3.10 7.1)."""
    if data[128:140] != b"DICM\x02\x00\x00\x00UL\x04\x00" or len(data) < 144:
        raise UnusualError
    start = 144 + _long(data, 140)[0]
    if start > len(data):
        raise EndedError
    syntax = Walk(data, explicit=True, groups=frozenset((2,))).elements(144, start).get(BaseTag(TRANSFER_SYNTAX))
    name = b"" if syntax is None else bytes(syntax.value or b"").rstrip(b"\0 ")
    if not name:
        raise UnusualError
    if name == DEFLATED:
        data, start = inflate(data[start:]), 0
    explicit, little = name != IMPLICIT, name != BIG_ENDIAN
    if explicit != (data[start + 4 : start + 6] in NAMES) and len(data) > start:
        raise UnusualError  # the meta header and the data disagree
    dataset = Dataset(_elements(data, start, explicit, little))
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(name.decode("ascii", "replace"))
    dataset.set_original_encoding(not explicit, little)
    return dataset


def _elements(data: bytes, start: int, explicit: bool, little: bool) -> Raw:
    found = Walk(data, explicit=explicit, groups=KEPT, little=little).elements(start, len(data))
    kind = found.get(BaseTag(IMAGE_TYPE))
    if kind is not None and b"MOSAIC" in bytes(kind.value or b""):
        return Walk(data, explicit=explicit, groups=KEPT | MOSAIC, little=little).elements(start, len(data))
    return found
