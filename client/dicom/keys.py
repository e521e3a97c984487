"""Keyed hashes in place of identities: nothing that names a patient, a study or a file is written down in clear.

HMAC-SHA256 (RFC 2104) under the site key, which never leaves the hospital: without it nobody can test a guess.
Each kind of value has its own domain, so that equal texts of different kinds never have equal hashes.

What the hospital's own people must be told again, a path and a series, is sealed instead: AES-SIV (RFC 5297) under a
key derived from the site key. Deterministic, so that equal archives have equal catalogs: it tells that two sealed
values are equal, and how long they are, and nothing else.
"""

import hmac
import os
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from shared.errors import SiteError

#: Bytes of every keyed hash but the patient's: collisions need 2^64 objects.
SHORT = 16


def patient_key(key: bytes, issuer: bytes, patient_id: bytes) -> bytes:
    """32 bytes naming a patient: HMAC(issuer ‖ 0x00 ‖ patient id), (0010,0021) and (0010,0020)."""
    return hmac.digest(key, b"konsil/patient/v1\0" + issuer + b"\0" + patient_id, "sha256")


def orphan_key(key: bytes, study_uid: bytes) -> bytes:
    """32 bytes for the images of a study without a patient id: the study is taken for the patient."""
    return hmac.digest(key, b"konsil/orphan/v1\0" + study_uid, "sha256")


def short_key(key: bytes, kind: str, value: bytes) -> bytes:
    """16 bytes naming a UID, an accession number or a bare patient id; empty for an empty value."""
    return hmac.digest(key, b"konsil/%b/v1\0%b" % (kind.encode(), value), "sha256")[:SHORT] if value else b""


def file_key(key: bytes, path: str, member: str = "") -> bytes:
    """16 bytes naming a file by its `path` within the archive, or the file `member` in the zip at `path` (paths often
    hold names of patients)."""
    name = os.fsencode(path)
    return short_key(key, "file", name + b"\0" + member.encode("utf-8", "surrogatepass") if member else name)


def seal(key: bytes, value: bytes) -> bytes:
    """`value`, readable under `key` only, and 16 bytes longer. `key`: any length, 32 bytes of secret at least."""
    return _cipher(key).encrypt(value, None)


def unseal(key: bytes, sealed: bytes) -> bytes:
    """What `seal` sealed. Raises SiteError if it was sealed under another key, or changed since."""
    try:
        return _cipher(key).decrypt(sealed, None)
    except (InvalidTag, ValueError):
        do = "Was keys/archive.key replaced? Delete the catalog; the next scan makes a new one."
        raise SiteError("a sealed value", expected="one of this site's key", got="another", do=do) from None


@lru_cache(maxsize=4)
def _cipher(key: bytes) -> AESSIV:
    return AESSIV(hmac.digest(key, b"konsil/seal/v1", "sha512"))
