"""Reading DICOM objects that are no images (reports, segmentations, contours), whole and within limits.

Guarantees: never more than `limit` bytes are read, nor inflated; whatever the bytes are, the result is a Dataset or a
LeftOutError (not_dicom, unreadable, truncated, too_large, special_file, unsafe_container). The values of a Dataset are
made when they are asked for, which may fail again: `guarded`.
"""

import contextlib
import warnings
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from client.dicom.item import Location
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning import containers
from client.dicom.scanning.elements import DEFLATED
from client.dicom.scanning.header import MALFORMED
from client.dicom.scanning.walk import base_of, listed, pages

#: Items of sequences in one object: each becomes an object of pydicom's, which takes time and memory.
ITEMS_LIMIT = 1 << 18
#: Bytes within which a file names its transfer syntax.
_START = 1024


def files_of(place: Path) -> Iterator[Location]:
    """`place` itself if it is a file; else the regular files below it, in zips too, in the order of the scan.

    Raises InputError if there is nothing.
    """
    if place.is_file() and not containers.is_container(place.name):
        yield Location(place)
        return
    for page in pages(place):
        files = listed(page, base_of(place)).files if page.container else page.files
        yield from (file.location(base_of(place)) for file in files if not file.fault)


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """For all that asks a data set for values. Raises LeftOutError(unreadable) for values that are not what they say;
    pydicom's warnings, which name them, are not given."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (OSError, *MALFORMED):  # OSError: a sequence that ends before its items do
        raise LeftOutError(Reason.UNREADABLE) from None


def storage_class(location: Location) -> str:
    """The SOP class of the object at `location` (0008,0016). Raises LeftOutError, not_dicom where none is."""
    return containers.header(location).sop_class


def read_object(location: Location, limit: int) -> Dataset:
    """The object at `location`, of at most `limit` bytes, inflated or not. Raises LeftOutError."""
    data = containers.read(location, limit)
    with guarded():
        if DEFLATED in data[:_START]:  # pydicom would inflate whatever comes
            return _inflated(data, limit)
        _check_items(data)
        return dcmread(BytesIO(data), force=True)  # that it is an object, its header has shown


def _inflated(data: bytes, limit: int) -> Dataset:
    """PS3.5 A.5; raises LeftOutError(too_large) instead of inflating beyond `limit` bytes."""
    file = BytesIO(data)
    file.seek(132)
    meta = read_dataset(file, is_implicit_VR=False, is_little_endian=True, stop_when=_after_meta)
    if data[128:132] != b"DICM" or meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        raise LeftOutError(Reason.UNREADABLE)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(data[file.tell() :], limit)
    if inflater.unconsumed_tail:
        raise LeftOutError(Reason.TOO_LARGE)
    if not inflater.eof:
        raise LeftOutError(Reason.TRUNCATED)
    _check_items(inflated)
    dataset = read_dataset(BytesIO(inflated), is_implicit_VR=False, is_little_endian=True)
    dataset.file_meta = FileMetaDataset(meta)
    return dataset


def _after_meta(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag.group != 2


def _check_items(data: bytes) -> None:
    """Raises LeftOutError(too_large) for more items than any object has: their tags (PS3.5 7.5), either byte order."""
    if data.count(b"\xfe\xff\x00\xe0") + data.count(b"\xff\xfe\xe0\x00") > ITEMS_LIMIT:
        raise LeftOutError(Reason.TOO_LARGE)
