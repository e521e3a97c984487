"""Keys, signatures, derived seeds and Shamir's shares, as docs/protocol.md has them; see second.py."""

import hmac
from collections.abc import Sequence
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from tests.vectors.secagg.packed import Refused, digest

#: Shamir's field, and bytes of one share.
PRIME = (1 << 256) + 297
SHARE = 33


def public_identity(identity: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(identity).public_key().public_bytes_raw()


def sign(identity: bytes, label: str, *parts: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(identity).sign(digest(label, *parts))


def verify(public: bytes, signature: bytes, label: str, *parts: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, digest(label, *parts))
    except InvalidSignature:
        raise Refused(f"a signature for {label}") from None


def public_run_key(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def agree(private: bytes, public: bytes) -> bytes:
    """X25519; a key of low order or one that is not canonical is refused."""
    if len(public) != 32 or int.from_bytes(public, "little") >= (1 << 255) - 19:
        raise Refused("run key: not canonical")
    try:
        return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise Refused("run key: low order") from None


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """RFC 5869 with SHA-256, 32 bytes: one block of output."""
    return hmac.digest(hmac.digest(salt, secret, sha256), info + b"\1", sha256)


def pair_seed(plan: bytes, secret: bytes, a: str, b: str) -> bytes:
    first, second = sorted((a, b))
    return hkdf(secret, plan, digest("konsil/pair/v1", first.encode(), second.encode()))


def seal_key(plan: bytes, secret: bytes, sender: str, receiver: str) -> bytes:
    return hkdf(secret, plan, digest("konsil/seal/v1", sender.encode(), receiver.encode()))


# Shares


def split(secret: bytes, coefficients: Sequence[int], members: int) -> list[bytes]:
    """One share per member; `coefficients` of x, x², …"""
    polynomial = [int.from_bytes(secret, "big"), *coefficients]
    return [
        (sum(c * pow(k + 1, e, PRIME) for e, c in enumerate(polynomial)) % PRIME).to_bytes(SHARE, "big")
        for k in range(members)
    ]


def weights(members: Sequence[int]) -> list[int]:
    """By Lagrange, what the shares of these members (numbers from 0) are multiplied with to find f(0)."""
    result = []
    for k in members:
        over, under = 1, 1
        for other in members:
            if other != k:
                over, under = over * (other + 1) % PRIME, under * (other - k) % PRIME
        result.append(over * pow(under, -1, PRIME) % PRIME)
    return result


def combine(shares: dict[int, bytes]) -> bytes:
    """The secret of t shares, by number of the member."""
    numbers = [int.from_bytes(share, "big") for share in shares.values()]
    secret = sum(w * number for w, number in zip(weights(list(shares)), numbers, strict=True)) % PRIME
    if secret >= 1 << 256:
        raise Refused("shares of no secret")
    return secret.to_bytes(32, "big")
