"""Signing identities: one Ed25519 key pair per site, per coordinator and for the federation root.

Guarantees: what is signed is SHA-256 over a label and its length-prefixed parts (`shared.wire.digest`), so a
signature given in one step of the protocol is void in every other; `verify` either returns or raises
PeerError. Keys are raw: 32 bytes private, 32 bytes public; signatures are 64 bytes (RFC 8032, 5.1).

The caller does the I/O: private bytes go to a file of mode 0600, or into the site's key store.

    >>> identity = Identity.generate()
    >>> verify(identity.public, identity.sign("konsil/example/v1", b"text"), "konsil/example/v1", b"text")
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from shared.errors import InputError, PeerError
from shared.wire import Record, digest

KEY_BYTES = 32
SIGNATURE_BYTES = 64


class Identity:
    """The private half of an identity; `public` is the 32 bytes others know it by."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public: bytes = private.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> "Identity":
        """A new identity from the system's random source."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_private_bytes(cls, data: bytes) -> "Identity":
        """The identity whose 32 private bytes the caller kept. Raises InputError for another length."""
        if len(data) != KEY_BYTES:
            raise InputError("identity key", expected=f"{KEY_BYTES} bytes", got=f"{len(data)} bytes")
        return cls(Ed25519PrivateKey.from_private_bytes(data))

    def private_bytes(self) -> bytes:
        """The 32 bytes to keep secret (mode 0600)."""
        return self._private.private_bytes_raw()

    def sign(self, label: str, *parts: Record | bytes) -> bytes:
        """64 bytes of signature over `parts` under `label` ("konsil/<step>/v1")."""
        return self._private.sign(digest(label, *parts))


def verify(public: bytes, signature: bytes, label: str, *parts: Record | bytes) -> None:
    """Return if `signature` over `parts` under `label` was made by `public`'s owner, else raise PeerError."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, digest(label, *parts))
    except (InvalidSignature, ValueError):
        raise PeerError(
            f"signature for {label}", expected=f"one by key {public.hex()[:16]}", got="another or none"
        ) from None
