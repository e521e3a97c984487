"""What the catalog needs to know of one file, without decoding its pixels.

Guarantees: `read_header` returns a Header or raises LeftOutError with the reason, whatever the bytes are; the values
equal pydicom's; numbers that are none are absent. A file in the common encodings costs less than a tenth of a
millisecond; anything unusual is given to pydicom, within limits. Identifying values are bytes as they stand in the
file (character sets are often wrong) and are kept out of `repr`; of the study date only the year is kept.
"""

import logging
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from client.dicom.item import Stamp
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning.elements import (
    Elements,
    EndedError,
    Read,
    UnusualError,
    is_complete,
    read_elements,
)
from client.dicom.scanning.opening import open_regular, stamp_of
from client.dicom.scanning.tags import TAGS, WANTED
from client.dicom.scanning.unusual import MALFORMED, ask_pydicom
from client.dicom.scanning.values import (
    Order,
    decimal,
    decimals,
    double,
    integer,
    texts,
    unsigned,
    unsigned_long,
    year,
)
from client.dicom.scanning.values import text as parse_text
from client.dicom.scanning.views import first_code, view

__all__ = ["MALFORMED", "WANTED", "DamagedError", "Header", "header_of", "read_header"]

# They log the values they stumble over, and those may name a patient; what was wrong is told by a Reason.
for _name in ("pydicom", "pylibjpeg", "openjpeg", "libjpeg", "rle"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)

#: A UID is compared and hashed, never followed: letters, which some anonymizers write, do no harm (PS3.5 9.1).
_UID = re.compile(rb"[ -\[\]-~]{1,64}")
#: of an Integer String (PS3.5 6.2)
_IS_DIGITS = 12


@dataclass(frozen=True)
class Header:
    """The values of one file; texts stripped, absent texts empty, absent counts 0 (frames: 1), other absent numbers
    None. Of several values the first is taken where one is meant.

    `pixels` is the tag of the pixel data, 0 if none; `length` is UNDEFINED for encapsulated pixels;
    `complete`: all bytes of the pixel data are there. `stamp`: of the file when it was read. `year`: the study date's.
    Spacings: mm between rows, between columns; `aspect`: their ratio. Times of echo, trigger, inversion and
    reference: ms; b: s/mm²; flip angle: degrees.
    `position` and `orientation` as in PS3.3 C.7.6.2.1.1, unchecked.
    """

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
    stamp: Stamp
    complete: bool
    sop_uid: bytes = field(repr=False)
    series_uid: bytes = field(repr=False)
    study_uid: bytes = field(repr=False)
    accession: bytes = field(repr=False)
    patient_id: bytes = field(repr=False)
    issuer: bytes = field(repr=False)
    frame_of_reference: bytes = field(default=b"", repr=False)
    high_bit: int = 0
    pixel_representation: int = 0
    year: int = 0
    body_part: str = ""
    view_position: str = ""
    view_code: str = ""
    laterality: str = ""
    image_laterality: str = ""
    content_time: str = ""
    acquisition_time: str = ""
    instance_number: int | None = None
    acquisition_number: int | None = None
    temporal_position: int | None = None
    temporal_index: int | None = None
    echo_number: int | None = None
    echo_time: float | None = None
    trigger_time: float | None = None
    b_value: float | None = None
    inversion_time: float | None = None
    flip_angle: float | None = None
    reference_time: float | None = None
    position: tuple[float, ...] | None = None
    orientation: tuple[float, ...] | None = None
    pixel_spacing: tuple[float, ...] | None = None
    imager_spacing: tuple[float, ...] | None = None
    nominal_spacing: tuple[float, ...] | None = None
    aspect: tuple[float, ...] | None = None

    @property
    def size(self) -> int:
        """Bytes of the object."""
        return self.stamp[0]

    @property
    def view(self) -> str:
        """Of a mammogram by its code, else View Position (0018,5101)."""
        return view(self.view_code, self.view_position)

    @property
    def side(self) -> str:
        """L, R or B: of the image (0020,0062), else of the series (0020,0060)."""
        return self.image_laterality or self.laterality


class DamagedError(LeftOutError):
    """An object that cannot be used, but says what it is: `header` has what stands before the damage."""

    def __init__(self, reason: Reason, header: Header) -> None:
        super().__init__(reason)
        self.header = header


def read_header(path: Path) -> Header:
    """The header of the file at `path`. Raises LeftOutError (not_dicom, unreadable, truncated, too_large, changed), as
    DamagedError where the object says what it is."""
    descriptor = open_regular(path)
    try:
        before = stamp_of(os.fstat(descriptor))
        try:
            return header_of(lambda length, offset: os.pread(descriptor, length, offset), before)
        finally:
            if stamp_of(os.fstat(descriptor)) != before:
                raise LeftOutError(Reason.CHANGED)
    except OSError:
        raise LeftOutError(Reason.UNREADABLE) from None
    finally:
        os.close(descriptor)


def header_of(read: Read, stamp: Stamp) -> Header:
    """The header of the object that `read` reads. Raises LeftOutError as `read_header` does, and what `read` raises."""
    size, complete, fault = stamp[0], False, None
    try:
        found = _elements(read, size)
        complete = is_complete(read, found, size)
    except EndedError as ended:
        found, fault = Elements(ended.values, 0, -1, 0), ended.reason
    _require_dicom(found, fault)
    header = _header(found, stamp, complete)
    if reason := fault or _fault(found):
        raise DamagedError(reason, header)
    return header


def _elements(read: Read, size: int) -> Elements:
    try:
        return read_elements(read, size, WANTED)
    except UnusualError:
        return ask_pydicom(read, size, WANTED)


def _header(found: Elements, stamp: Stamp, complete: bool) -> Header:
    """Raw values → Header."""
    order: Order = "little" if found.little_endian else "big"
    raw = {name: found.values.get(tag, b"") for name, tag in TAGS.items()}
    text = {name: parse_text(raw[name]) for name in _TEXTS}
    identity = {name: raw[name].strip(b"\0 ") for name in _IDENTITIES}
    return Header(
        transfer_syntax=text["transfer_syntax"],
        image_type=texts(raw["image_type"]),
        sop_class=text["sop_class"],
        modality=text["modality"],
        intent=text["intent"],
        manufacturer=text["manufacturer"],
        sex=text["sex"],
        age=text["age"],
        series_number=text["series_number"],
        samples=unsigned(raw["samples"], order),
        photometric=text["photometric"],
        frames=_frames(found) or 1,  # 0, which is no count, as pydicom takes it
        rows=unsigned(raw["rows"], order),
        columns=unsigned(raw["columns"], order),
        bits_allocated=unsigned(raw["bits_allocated"], order),
        bits_stored=unsigned(raw["bits_stored"], order),
        high_bit=unsigned(raw["high_bit"], order),
        pixel_representation=unsigned(raw["pixel_representation"], order),
        burned_in=text["burned_in"],
        pixels=found.pixels,
        offset=found.offset,
        length=found.length,
        stamp=stamp,
        complete=complete,
        sop_uid=identity["sop_uid"],
        series_uid=identity["series_uid"],
        study_uid=identity["study_uid"],
        accession=identity["accession"],
        patient_id=identity["patient_id"],
        issuer=identity["issuer"],
        frame_of_reference=identity["frame_of_reference"],
        year=year(raw["study_date"]),
        body_part=text["body_part"],
        view_position=text["view_position"],
        view_code=first_code(raw["view_codes"]) if raw["view_codes"] else "",
        laterality=text["laterality"],
        image_laterality=text["image_laterality"],
        content_time=text["content_time"],
        acquisition_time=text["acquisition_time"],
        instance_number=integer(raw["instance_number"]),
        acquisition_number=integer(raw["acquisition_number"]),
        temporal_position=integer(raw["temporal_position"]),
        temporal_index=unsigned_long(raw["temporal_index"], order),
        echo_number=integer(raw["echo_number"]),
        echo_time=decimal(raw["echo_time"]),
        trigger_time=decimal(raw["trigger_time"]),
        b_value=double(raw["b_value"], order),
        inversion_time=decimal(raw["inversion_time"]),
        flip_angle=decimal(raw["flip_angle"]),
        reference_time=decimal(raw["reference_time"]),
        position=decimals(raw["position"], 3),
        orientation=decimals(raw["orientation"], 6),
        pixel_spacing=decimals(raw["pixel_spacing"], 2),
        imager_spacing=decimals(raw["imager_spacing"], 2),
        nominal_spacing=decimals(raw["nominal_spacing"], 2),
        aspect=decimals(raw["aspect"], 2),
    )


_IDENTITIES = ("sop_uid", "series_uid", "study_uid", "accession", "patient_id", "issuer", "frame_of_reference")
_TEXTS = (
    "transfer_syntax", "sop_class", "modality", "intent", "manufacturer", "sex", "age", "series_number", "photometric",
    "burned_in", "body_part", "view_position", "laterality", "image_laterality", "content_time", "acquisition_time",
)  # fmt: skip


def _require_dicom(found: Elements, fault: Reason | None) -> None:
    """Raises LeftOutError where nothing says what object it is: `fault`, or else not_dicom."""
    named = any(parse_text(found.values.get(TAGS[name], b"")) for name in ("transfer_syntax", "sop_class"))
    if not (named or found.pixels):
        raise LeftOutError(fault or Reason.NOT_DICOM)


def _fault(found: Elements) -> Reason | None:
    """Unreadable where a UID or a count is none."""
    sop_uid = found.values.get(TAGS["sop_uid"], b"").strip(b"\0 ")
    if _frames(found) is None or (found.pixels and not _UID.fullmatch(sop_uid)):
        return Reason.UNREADABLE
    return None


def _frames(found: Elements) -> int | None:
    """Number of Frames, 1 for none; None for what is no count."""
    frames = found.values.get(TAGS["frames"], b"").strip(b"\0 ") or b"1"
    return int(frames) if frames.isdigit() and len(frames) <= _IS_DIGITS else None
