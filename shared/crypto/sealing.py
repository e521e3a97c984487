"""Key agreement and sealed bundles: X25519, HKDF-SHA256, AES-256-GCM (PROTOCOL.md, primitives).

Guarantees: `agree` refuses every public key that is low-order, not 32 bytes, or not the one encoding of its
point (RFC 7748, 5 and 6.1), so two different byte strings are two different keys; `derive` separates uses by
label and length-prefixed parts; `unseal` returns what `seal` was given under the same key and associated
data, or raises PeerError.

Lengths: keys and shared secrets 32 bytes; a sealed bundle is `OVERHEAD` (28) bytes longer than its content:
a random nonce of 12 before, a tag of 16 behind it. A key seals fewer than 2^32 bundles.

The caller derives one key per purpose, direction and plan, and keeps the private bytes secret.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.errors import PeerError
from shared.wire import digest

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
OVERHEAD = NONCE_BYTES + TAG_BYTES

#: The field of Curve25519; a canonical public key is a number below it.
_FIELD = 2**255 - 19


def generate() -> tuple[bytes, bytes]:
    """A new X25519 key: private and public half, 32 bytes each."""
    private = X25519PrivateKey.generate()
    return private.private_bytes_raw(), private.public_key().public_bytes_raw()


def agree(private: bytes, public: bytes, *, owner: str = "peer") -> bytes:
    """The 32 bytes both owners can compute. Raises PeerError for an unfit `public`, naming its `owner`.

    Not uniform: it goes through `derive` before any use.
    """
    if len(public) != KEY_BYTES or int.from_bytes(public, "little") >= _FIELD:
        raise PeerError(f"public key of {owner}", expected="32 bytes, canonical", got=f"{len(public)} bytes")
    try:
        return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:  # the shared secret is all zeros (RFC 7748, 6.1)
        raise PeerError(f"public key of {owner}", expected="a point of high order", got="low order") from None


def check_public(public: bytes, *, owner: str) -> None:
    """Raise PeerError where `agree` would: a clamped scalar takes every low-order point to zero."""
    agree(X25519PrivateKey.generate().private_bytes_raw(), public, owner=owner)


def derive(secret: bytes, *, salt: bytes, label: str, parts: tuple[str, ...]) -> bytes:
    """HKDF-SHA256 (RFC 5869): 32 bytes from `secret`, for the use that `label` and `parts` name."""
    info = digest(label, *(part.encode() for part in parts))
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=info).derive(secret)


def seal(key: bytes, content: bytes, associated: bytes) -> bytes:
    """`content` encrypted and authenticated together with `associated`, which does not travel."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, content, associated)


def unseal(key: bytes, sealed: bytes, associated: bytes, *, what: str = "bundle") -> bytes:
    """The content of `sealed`. Raises PeerError naming `what` if a bit of it or of `associated` changed."""
    if len(sealed) < OVERHEAD:
        raise PeerError(what, expected=f"at least {OVERHEAD} bytes", got=f"{len(sealed)} bytes")
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated)
    except InvalidTag:
        raise PeerError(what, expected="sealed for this plan, sender and reader", got="a wrong tag") from None
