"""Keyed hashes in place of identities: nothing that names a patient, a study or a file is written down in clear.

HMAC-SHA256 (RFC 2104) under the site key, which never leaves the hospital: without it nobody can test a guess.
Each kind of value has its own domain, so that equal texts of different kinds never have equal hashes.
"""

import hmac
import os

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


def file_key(key: bytes, path: str) -> bytes:
    """16 bytes naming a file by its `path` within the archive (paths often hold names of patients)."""
    return short_key(key, "file", os.fsencode(path))
