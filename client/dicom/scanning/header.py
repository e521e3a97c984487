"""What the catalog needs to know of one file, without decoding its pixels.

Guarantees: `read_header` returns a Header or raises LeftOutError with the reason, whatever the bytes are; the values
equal pydicom's. A file in the common encodings costs about a tenth of a millisecond; anything unusual is given
to pydicom. Identifying values are bytes as they stand in the file (character sets are often wrong) and are
kept out of `repr`.
"""

import logging
import os
import re
import struct
import warnings
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

from pydicom import dcmread
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.errors import BytesLengthException, InvalidDicomError

from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning.elements import (
    DEFLATED,
    DOUBLE_PIXELS,
    FLOAT_PIXELS,
    PIXELS,
    TRANSFER_SYNTAX,
    UNDEFINED,
    Elements,
    EndedError,
    UnusualError,
    read_elements,
)

#: What pydicom raises on bytes that are not what they say; RecursionError: sequences nested without end; MemoryError: a
#: length of gigabytes that the file does not have.
MALFORMED = (
    InvalidDicomError, BytesLengthException, ArithmeticError, AttributeError, EOFError, LookupError, MemoryError,
    NotImplementedError, RecursionError, RuntimeError, TypeError, ValueError, struct.error, zlib.error,
)  # fmt: skip

# They log the values they stumble over, and those may name a patient; what was wrong is told by a Reason.
for _name in ("pydicom", "pylibjpeg", "openjpeg", "libjpeg", "rle"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)

_UID = re.compile(rb"[0-9.]{1,64}")
#: of an Integer String (PS3.5 6.2)
_IS_DIGITS = 12

_TAGS = {
    "transfer_syntax": TRANSFER_SYNTAX,
    "image_type": 0x00080008,
    "sop_class": 0x00080016,
    "sop_uid": 0x00080018,
    "accession": 0x00080050,
    "modality": 0x00080060,
    "intent": 0x00080068,
    "manufacturer": 0x00080070,
    "patient_id": 0x00100020,
    "issuer": 0x00100021,
    "sex": 0x00100040,
    "age": 0x00101010,
    "study_uid": 0x0020000D,
    "series_uid": 0x0020000E,
    "series_number": 0x00200011,
    "samples": 0x00280002,
    "photometric": 0x00280004,
    "frames": 0x00280008,
    "rows": 0x00280010,
    "columns": 0x00280011,
    "bits_allocated": 0x00280100,
    "bits_stored": 0x00280101,
    "burned_in": 0x00280301,
}
WANTED = frozenset(_TAGS.values())


@dataclass(frozen=True)
class Header:
    """The values of one file; texts stripped, absent texts empty, absent numbers 0 (frames: 1). `pixels` is the
    tag of the pixel data, 0 if none; `length` is UNDEFINED for encapsulated pixels; `size` is the file's;
    `complete`: all bytes of the pixel data are there."""

    transfer_syntax: str
    image_type: tuple[str, ...]
    sop_class: str
    modality: str
    intent: str
    manufacturer: str
    sex: str
    age: str
    series_number: str
    samples: int
    photometric: str
    frames: int
    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    burned_in: str
    pixels: int
    offset: int
    length: int
    size: int
    complete: bool
    sop_uid: bytes = field(repr=False)
    series_uid: bytes = field(repr=False)
    study_uid: bytes = field(repr=False)
    accession: bytes = field(repr=False)
    patient_id: bytes = field(repr=False)
    issuer: bytes = field(repr=False)


def read_header(path: Path) -> Header:
    """The header of the regular file at `path`. Raises LeftOutError (not_dicom, unreadable, truncated)."""
    try:
        # O_NONBLOCK: a pipe that took the file's place must not hang the scan
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        raise LeftOutError(Reason.UNREADABLE) from None
    try:
        size = os.fstat(descriptor).st_size
        try:
            found = read_elements(descriptor, size, WANTED)
        except UnusualError:
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                found = _ask_pydicom(file)
        return _header(found, size, _complete(descriptor, found, size))
    except EndedError:
        raise LeftOutError(Reason.TRUNCATED) from None
    except OSError:
        raise LeftOutError(Reason.UNREADABLE) from None
    finally:
        os.close(descriptor)


def _complete(descriptor: int, found: Elements, size: int) -> bool:
    """Whether the pixel data ends within the file; fragments (PS3.5 A.4) are stepped over, not read."""
    if not found.pixels or found.offset < 0:
        return True
    if found.length != UNDEFINED:
        return found.offset + found.length <= size
    position = found.offset
    while position + 8 <= size:
        group, element, length = struct.unpack("<HHI", os.pread(descriptor, 8, position))
        if (group, element) == (0xFFFE, 0xE0DD):  # sequence delimitation item
            return True
        if (group, element) != (0xFFFE, 0xE000):
            return False
        position += 8 + length
    return False


def _header(found: Elements, size: int, complete: bool) -> Header:
    """Raw values → Header. Raises LeftOutError as `_check` does."""
    order: Literal["little", "big"] = "little" if found.little_endian else "big"
    raw = {name: found.values.get(tag, b"") for name, tag in _TAGS.items()}
    clean = {name: value.strip(b"\0 ") for name, value in raw.items()}
    _check(clean, found)
    text = {name: _text(value) for name, value in clean.items()}
    number = {name: int.from_bytes(value[:2], order) for name, value in raw.items()}  # US (PS3.5 6.2)
    return Header(
        transfer_syntax=text["transfer_syntax"],
        image_type=tuple(part.strip() for part in text["image_type"].split("\\")),
        sop_class=text["sop_class"],
        modality=text["modality"],
        intent=text["intent"],
        manufacturer=text["manufacturer"],
        sex=text["sex"],
        age=text["age"],
        series_number=text["series_number"],
        samples=number["samples"],
        photometric=text["photometric"],
        frames=int(clean["frames"] or 1),
        rows=number["rows"],
        columns=number["columns"],
        bits_allocated=number["bits_allocated"],
        bits_stored=number["bits_stored"],
        burned_in=text["burned_in"],
        pixels=found.pixels,
        offset=found.offset,
        length=found.length,
        size=size,
        complete=complete,
        sop_uid=clean["sop_uid"],
        series_uid=clean["series_uid"],
        study_uid=clean["study_uid"],
        accession=clean["accession"],
        patient_id=clean["patient_id"],
        issuer=clean["issuer"],
    )


def _text(value: bytes) -> str:
    return value.decode("ascii") if value.isascii() else value.decode("utf-8", "replace")


def _check(clean: dict[str, bytes], found: Elements) -> None:
    """Raises LeftOutError: not_dicom where nothing is as DICOM has it, unreadable where a UID or a count is none."""
    if not (clean["transfer_syntax"] or clean["sop_class"] or found.pixels):
        raise LeftOutError(Reason.NOT_DICOM)
    counted = not clean["frames"] or (clean["frames"].isdigit() and len(clean["frames"]) <= _IS_DIGITS)
    if not counted or (found.pixels and not _UID.fullmatch(clean["sop_uid"])):
        raise LeftOutError(Reason.UNREADABLE)


def _ask_pydicom(file: BinaryIO) -> Elements:
    """The same elements by pydicom, from the beginning of `file`. Raises LeftOutError(not_dicom, unreadable)."""
    start = file.read(1024)
    if DEFLATED in start:  # elements.py reads these within a limit; pydicom would inflate whatever comes
        raise LeftOutError(Reason.UNREADABLE)
    if start[128:132] != b"DICM" and not _plausible(start):
        raise LeftOutError(Reason.NOT_DICOM)
    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = dcmread(file, stop_before_pixels=True, force=True)
            implicit, little = dataset.original_encoding
            values = {
                tag: _raw(source.get_item(tag))
                for tag in WANTED
                for source in (dataset.file_meta, dataset)
                if tag in source
            }
    except MALFORMED:
        raise LeftOutError(Reason.UNREADABLE) from None
    # pydicom stops in front of the pixel element (PS3.5 7.1)
    return _pixel_element(values, file.read(12), file.tell(), bool(implicit), little is not False)


def _raw(element: DataElement | RawDataElement | None) -> bytes:
    if isinstance(element, RawDataElement):
        return element.value or b""
    return b"" if element is None else str(element.value).encode()


def _pixel_element(values: dict[int, bytes], head: bytes, position: int, implicit: bool, little: bool) -> Elements:
    """`head`: the up to 12 bytes before `position`, the start of the pixel element or nothing."""
    if len(head) < 12:
        return Elements(values, 0, -1, 0, little)
    mark = "<" if little else ">"
    group, element = struct.unpack_from(mark + "HH", head)
    tag = group << 16 | element
    if tag not in (PIXELS, FLOAT_PIXELS, DOUBLE_PIXELS):
        return Elements(values, 0, -1, 0, little)
    at, offset = (4, position - 4) if implicit else (8, position)
    return Elements(values, tag, offset, struct.unpack_from(mark + "I", head, at)[0], little)


def _plausible(start: bytes) -> bool:
    """No preamble, but the bytes begin like group 2 or 8, in either encoding, with a short first element."""
    if start[:4] == b"\x02\x00\x00\x00" and start[4:6] == b"UL":
        return True
    if start[:2] != b"\x08\x00" or len(start) < 12:
        return False
    if start[4:6].isalpha() and start[4:6].isupper():
        return int.from_bytes(start[6:8], "little") < 256
    return int.from_bytes(start[4:8], "little") < 256
