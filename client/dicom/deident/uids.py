"""UIDs replaced under a key: the same UID becomes the same replacement in every object, and nobody without the key can
tell which it was (HMAC-SHA256, RFC 2104).

Guarantees: UIDs of the standard (SOP classes, transfer syntaxes, frames of reference of atlases) and those that name a
coding scheme, a context group or the like stay, since they name no instance.

    >>> mapped("1.2.840.10008.1.2.1", b"key")
    '1.2.840.10008.1.2.1'
"""

import hmac
import uuid

from pydicom._uid_dict import UID_dictionary

#: Attributes that hold UIDs of the standard or of a vocabulary, never of an instance.
STRUCTURAL = frozenset(
    {
        0x00080016,  # SOP Class UID
        0x0008001A,  # Related General SOP Class UID
        0x0008001B,  # Original Specialized SOP Class UID
        0x00080062,  # SOP Classes in Study
        0x0008010C,  # Coding Scheme UID
        0x0008010D,  # Context Group Extension Creator UID
        0x00080117,  # Context UID
        0x00080118,  # Mapping Resource UID
        0x0008040E,  # Stored Instance Transfer Syntax UID
        0x00081150,  # Referenced SOP Class UID
        0x0008115A,  # SOP Classes Supported
        0x00083002,  # Available Transfer Syntax UID
        0x00340003,  # Flow Transfer Syntax UID
        0x04000010,  # MAC Calculation Transfer Syntax UID
        0x30100052,  # Pertinent SOP Classes in Study
        0x30100053,  # Pertinent SOP Classes in Series
    }
)
#: Roots under which no hospital or scanner makes instances: DICOM's own, and HL7's for coding systems.
_ROOTS = ("1.2.840.10008.", "2.16.840.1.113883.6.")


def mapped(uid: str, key: bytes) -> str:
    """The replacement of `uid` under `key` (PS3.5 B.2: "2.25." and a number of 128 bits); itself if the standard's."""
    if not uid or uid in UID_dictionary:
        return uid
    digest = hmac.digest(key, b"konsil/deident/uid/v1\0" + uid.encode(), "sha256")
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=4).int}"


def structural(uid: str, key: bytes) -> str:
    """As `mapped`, for a value of STRUCTURAL: registered there or under a known root, it stays."""
    known = uid.startswith(_ROOTS) and all(part.isdigit() for part in uid.split("."))
    return uid if known else mapped(uid, key)
