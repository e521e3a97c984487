"""Reading DICOM objects that are no images (reports, segmentations, contours), whole and within limits.

Guarantees: a file is read once, never more than `limit` bytes of it, deflated ones never inflated beyond that; whatever
the bytes are, the result is a Dataset or a LeftOutError (unreadable, too_large, special_file).
"""

import os
import stat
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

from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning.elements import DEFLATED
from client.dicom.scanning.header import MALFORMED, read_header

#: Bytes within which group 2 names the class of the object.
META = 4096


def files_of(place: Path) -> Iterator[Path]:
    """`place` itself if it is no folder, else the files below it in the order of paths; links are not followed."""
    if not place.is_dir():
        yield place
        return
    for folder, folders, names in os.walk(place):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names) if not Path(folder, name).is_symlink())


def storage_class(path: Path) -> str:
    """The SOP class that the file's meta information names (0002,0002), or without one its data set (0008,0016); "" if
    this is no DICOM file."""
    try:
        start = read_bytes(path, META, cut=True)
        if _is_bare(start):
            return read_header(path).sop_class
        return str(_meta(start)[0].get("MediaStorageSOPClassUID") or "")
    except LeftOutError:
        return ""


def read_object(path: Path, limit: int) -> Dataset:
    """The object in the file at `path`, of at most `limit` bytes, inflated or not. Raises LeftOutError."""
    data = read_bytes(path, limit)
    bare = _is_bare(data) and DEFLATED not in data[:META]  # pydicom would inflate whatever comes
    meta, end = (Dataset(), 0) if bare else _meta(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if bare:
                return dcmread(BytesIO(data), force=True)
            if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
                return dcmread(BytesIO(data))
            inflated = _inflate(data[end:], limit)
            dataset = read_dataset(BytesIO(inflated), is_implicit_VR=False, is_little_endian=True)
            dataset.file_meta = FileMetaDataset(meta)
            return dataset
    except MALFORMED:
        raise LeftOutError(Reason.UNREADABLE) from None


def _is_bare(start: bytes) -> bool:
    """Whether a file starts with a data set, or its meta information, without preamble, as old exports do."""
    return start[128:132] != b"DICM" and start[:2] in (b"\x08\x00", b"\x02\x00")


def _meta(data: bytes) -> tuple[Dataset, int]:
    """Group 2 of a file that starts with `data`, and where it ends (PS3.10 7.1). Raises LeftOutError."""
    if data[128:132] != b"DICM":
        raise LeftOutError(Reason.NOT_DICOM)
    file = BytesIO(data)
    file.seek(132)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            meta = read_dataset(file, is_implicit_VR=False, is_little_endian=True, stop_when=_after_meta)
            return meta, file.tell()
    except MALFORMED:
        raise LeftOutError(Reason.UNREADABLE) from None


def _after_meta(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag.group != 2


def read_bytes(path: Path, limit: int, *, cut: bool = False) -> bytes:
    """The whole file; with `cut` at most its first `limit` bytes.

    Raises LeftOutError: too_large if it has more, special_file, unreadable.
    """
    try:
        # O_NONBLOCK: a pipe must not hang us
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise LeftOutError(Reason.SPECIAL_FILE)
            data = file.read(limit + 1)
    except OSError:
        raise LeftOutError(Reason.UNREADABLE) from None
    if len(data) > limit and not cut:
        raise LeftOutError(Reason.TOO_LARGE)
    return data


def _inflate(data: bytes, limit: int) -> bytes:
    """PS3.5 A.5; raises LeftOutError(too_large) instead of inflating beyond `limit` bytes."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(data, limit)
    if inflater.unconsumed_tail:
        raise LeftOutError(Reason.TOO_LARGE)
    if not inflater.eof:
        raise LeftOutError(Reason.UNREADABLE)
    return inflated
