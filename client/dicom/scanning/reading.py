"""One file → its entry, whatever it holds: header, rules, the place of its frames.

Guarantees: nothing in a file raises; what a file cannot be used for is its entry's `fault`. A damaged object that still
says which series it is of stays one of that series.
"""

from collections.abc import Sequence
from pathlib import Path

from client.dicom.geometry.frame import pack_frames
from client.dicom.geometry.frames import classic_frame, needs_dataset, object_frames
from client.dicom.item import Location
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning import containers
from client.dicom.scanning.entry import Entry, Row, entry_of, left_out, row_of
from client.dicom.scanning.header import DamagedError, Header
from client.dicom.scanning.rules import fault
from client.dicom.scanning.walk import File

#: What is left out for these lies somewhere all the same, and the scan says where.
_PLACED = (Reason.LOCALIZER, Reason.BURNED_IN)


def read_rows(base: Path, key: bytes, files: Sequence[File]) -> list[Row]:
    """The entries of `files`, in order, as rows of the catalog: tuples pass between processes faster."""
    return [row_of(read_entry(base, key, file)) for file in files]


def read_entry(base: Path, key: bytes, file: File) -> Entry:
    """The entry of `file`, which lies below `base`; `key` is the site's."""
    if file.fault:
        return left_out(key, file, Reason(file.fault))
    location = file.location(base)
    try:
        header = containers.header(location)
    except DamagedError as damaged:
        return entry_of(key, file, damaged.header, damaged.reason, b"")
    except LeftOutError as problem:
        return left_out(key, file, problem.reason)
    reason = fault(header)
    frames = b""
    if reason is None or reason in _PLACED:
        try:
            frames = _frames(location, header)
        except LeftOutError as problem:
            reason = reason or problem.reason
    return entry_of(key, file, header, reason, frames)


def _frames(location: Location, header: Header) -> bytes:
    """Raises LeftOutError where the geometry cannot be read at all; where it says nothing, so do the frames."""
    if not needs_dataset(header):
        return pack_frames((classic_frame(header),))
    return pack_frames(object_frames(containers.dataset(location, header.offset)))
