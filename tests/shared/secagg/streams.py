"""The key stream's definition, written out, for the tests of what is built on it."""

import hashlib

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

SEEDS = [bytes([k]) * 32 for k in range(4)]
DTYPES = ("<u4", "<u2")


def reference_key(seed: bytes, label: str) -> bytes:
    """SHA-256(label ‖ 0 ‖ len ‖ seed)."""
    return hashlib.sha256(label.encode() + b"\0" + (32).to_bytes(8, "big") + seed).digest()


def reference_bytes(seed: bytes, label: str, length: int) -> bytes:
    """AES-256-CTR from zero."""
    return Cipher(AES256(reference_key(seed, label)), CTR(bytes(16))).encryptor().update(bytes(length))
