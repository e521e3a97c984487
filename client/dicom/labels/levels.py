"""By which identifiers something known (a label, a mask) finds its images: the levels, most specific first.

Guarantees: an identifier is hashed as the catalog hashes it (client/dicom/keys.py) the moment it is read; the most
specific level at which anything is known of an image decides, and nothing below it is looked at.
"""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TypeVar

from client.dicom.keys import file_key, short_key
from client.dicom.scanning.entry import Entry

T = TypeVar("T")

#: Level → further names of its column, in small letters, without spaces and signs.
LEVELS: Mapping[str, tuple[str, ...]] = {
    "sop_instance_uid": ("sopuid", "instanceuid", "imageuid"),
    "file": ("filename", "filepath", "path"),
    "series_instance_uid": ("seriesuid",),
    "study_instance_uid": ("studyuid",),
    "accession_number": ("accession",),
    "patient_id": ("patient",),
}

#: How each level's identifier is hashed; the catalog hashes the same way. "file" is hashed by `file_key`.
_KINDS: Mapping[str, str] = {
    "sop_instance_uid": "sop",
    "series_instance_uid": "series",
    "study_instance_uid": "study",
    "accession_number": "accession",
    "patient_id": "bare-patient",
}


def identifier_key(key: bytes, level: str, identifier: str) -> bytes:
    """16 bytes naming `identifier` at `level`, equal to the catalog's.

    A file is named by its path within the archive, with / or \\ between folders; one inside a zip by the zip's path and
    its own in it, as if the zip were a folder.
    """
    if level != "file":
        return short_key(key, _KINDS[level], identifier.encode())
    parts = PurePosixPath(identifier.replace("\\", "/")).parts
    inside = next((place for place, part in enumerate(parts[:-1], 1) if part.lower().endswith(".zip")), len(parts))
    return file_key(key, "/".join(parts[:inside]), "/".join(parts[inside:]))


def keys_of(entry: Entry) -> dict[str, bytes]:
    """Level → what names `entry` there, most specific first; empty where it has no such value."""
    values = (entry.sop, entry.file, entry.series, entry.study, entry.accession, entry.bare_patient)
    return dict(zip(LEVELS, values, strict=True))


def find(levels: Mapping[str, Mapping[bytes, T]], entry: Entry) -> tuple[str, bytes] | None:
    """The most specific level, and the key there, at which `levels` knows `entry`; None if at none."""
    for level, value in keys_of(entry).items():
        if value and value in levels.get(level, {}):
            return level, value
    return None
