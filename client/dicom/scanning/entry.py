"""What the catalog keeps of one file: keyed hashes in place of identities, plain values, and where it lies, sealed.

Guarantees: an Entry holds no name, patient id, accession number, UID or path in clear (keys.py). What was sealed can be
told again with the site's key: `place_of`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from operator import attrgetter
from pathlib import Path

from client.dicom.item import Location, Stamp
from client.dicom.keys import file_key, orphan_key, patient_key, seal, short_key, unseal
from client.dicom.reasons import Reason
from client.dicom.scanning.header import Header
from client.dicom.scanning.walk import File

#: The longest text kept of any value: a Long String (LO, PS3.5 6.2).
TEXT_LIMIT = 64

Row = tuple[object, ...]

#: A folder's files are mostly of one series: what they share is hashed once. A hundred values, in memory only.
_shared_key = lru_cache(maxsize=100)(short_key)
_patient_key = lru_cache(maxsize=100)(patient_key)


@dataclass(frozen=True)
class Entry:
    """One file. Bytes are keyed hashes, empty where the object has no such value; `fault` is "" or the Reason why
    the file itself can never be used; `orphan`: no patient id, the study stands for the patient.

    `frames`: of an object that can be placed, its frames as geometry.frame.unpack_frames reads them; a Siemens mosaic
    has more than its `number_of_frames`. `year` is the study's, 0 for none; `view_position` a mammogram's view by its
    code. `sealed`: see `place_of`.
    """

    file: bytes
    size: int
    mtime_ns: int
    inode: int
    fault: str = ""
    sop: bytes = b""
    series: bytes = b""
    study: bytes = b""
    accession: bytes = b""
    bare_patient: bytes = b""
    patient: bytes = b""
    orphan: bool = False
    modality: str = ""
    manufacturer: str = ""
    sex: str = ""
    age: str = ""
    intent: str = ""
    series_number: str = ""
    transfer_syntax: str = ""
    photometric: str = ""
    rows: int = 0
    columns: int = 0
    bits_stored: int = 0
    sop_class: str = ""
    year: int = 0
    view_position: str = ""
    laterality: str = ""
    body_part: str = ""
    number_of_frames: int = 0
    frames: bytes = b""
    sealed: bytes = b""

    @property
    def stamp(self) -> Stamp:
        """Size, time of change, inode: while they stay, the file is not read again."""
        return self.size, self.mtime_ns, self.inode


def by_patient(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """A series that names several patients, or lies in several studies, is several series."""
    groups: dict[tuple[bytes, bytes], list[Entry]] = {}
    for entry in entries:
        groups.setdefault((entry.patient, entry.study), []).append(entry)
    yield from groups.values()


COLUMNS = tuple(field.name for field in fields(Entry))

#: The values of an Entry in the order of COLUMNS.
row_of = attrgetter(*COLUMNS)


@dataclass(frozen=True)
class Place:
    """Where an object lies and which series it is of. For the hospital's own people only: never logged, never sent."""

    path: str
    member: str
    series_uid: str

    def __repr__(self) -> str:
        return "Place(…)"

    def location(self, base: Path) -> Location:
        """In the archive whose paths are relative to `base` (walk.base_of)."""
        return Location(base / self.path, self.member)


def place_of(key: bytes, entry: Entry) -> Place:
    """What is sealed in `entry`. Raises SiteError if `key` is not the one that sealed it."""
    path, member, series_uid = unseal(key, entry.sealed).split(b"\0", 2)
    return Place(
        path.decode("utf-8", "surrogateescape"), member.decode("utf-8", "surrogatepass"), series_uid.decode("latin-1")
    )


def left_out(key: bytes, file: File, reason: Reason) -> Entry:
    """The entry of a file that is no object."""
    return Entry(
        file=file_key(key, file.path, file.member),
        size=file.size,
        mtime_ns=file.mtime_ns,
        inode=file.inode,
        fault=reason.value,
        sealed=_sealed(key, file, b""),
    )


def entry_of(key: bytes, file: File, header: Header, fault: Reason | None, frames: bytes) -> Entry:
    """The entry of an object; it has the stamp the file had when it was read."""
    orphan = not header.patient_id
    size, mtime_ns, inode = header.stamp
    return Entry(
        file=file_key(key, file.path, file.member),
        size=size,
        mtime_ns=mtime_ns,
        inode=inode,
        fault=fault.value if fault else "",
        sop=short_key(key, "sop", header.sop_uid),
        series=_shared_key(key, "series", header.series_uid),
        study=_shared_key(key, "study", header.study_uid),
        accession=_shared_key(key, "accession", header.accession),
        bare_patient=_shared_key(key, "bare-patient", header.patient_id),
        patient=orphan_key(key, header.study_uid or header.sop_uid)
        if orphan
        else _patient_key(key, header.issuer, header.patient_id),
        orphan=orphan,
        modality=header.modality[:TEXT_LIMIT],
        manufacturer=header.manufacturer[:TEXT_LIMIT],
        sex=header.sex[:TEXT_LIMIT],
        age=header.age[:TEXT_LIMIT],
        intent=header.intent[:TEXT_LIMIT],
        series_number=header.series_number[:TEXT_LIMIT],
        transfer_syntax=header.transfer_syntax[:TEXT_LIMIT],
        photometric=header.photometric[:TEXT_LIMIT],
        rows=header.rows,
        columns=header.columns,
        bits_stored=header.bits_stored,
        sop_class=header.sop_class[:TEXT_LIMIT],
        year=header.year,
        view_position=header.view[:TEXT_LIMIT],
        laterality=header.side[:TEXT_LIMIT],
        body_part=header.body_part[:TEXT_LIMIT],
        number_of_frames=header.frames,
        frames=frames,
        sealed=_sealed(key, file, header.series_uid[:TEXT_LIMIT]),
    )


def _sealed(key: bytes, file: File, series_uid: bytes) -> bytes:
    """Neither a path nor the name of a member has a zero in it."""
    path, member = file.path.encode("utf-8", "surrogateescape"), file.member.encode("utf-8", "surrogatepass")
    return seal(key, b"\0".join((path, member, series_uid)))
