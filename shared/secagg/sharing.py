"""Shamir's secret sharing, t of n, over the prime field of 2^256 + 297 (PROTOCOL.md, primitives).

Guarantees: any t shares of a secret give it back; fewer tell nothing about it, because t - 1 of them are uniform over
the field and drawn anew for each secret.

Lengths: a secret is 32 bytes (a number below 2^256), a share 33 bytes, big-endian both. Member number k of
the sorted cohort (from 0) holds the polynomial's value at x = k + 1; x = 0 is the secret.

Not promised: that a share is right. Shares are checked against commitments by whoever combines them. Python
integers are not constant-time: sites compute on their own secrets only, the coordinator on what it may know.

    >>> shares = split(bytes(32), threshold=2, count=3)
    >>> combine([shares[0], shares[2]], weights_at_zero((1, 3))) == bytes(32)
    True
"""

import secrets
from collections.abc import Sequence
from functools import lru_cache
from math import comb
from operator import mul

from shared.errors import MisuseError, PeerError

SECRET_BYTES = 32
SHARE_BYTES = 33

#: The smallest prime above 2^256: every 32-byte string is an element.
PRIME = 2**256 + 297


def split(secret: bytes, *, threshold: int, count: int) -> list[bytes]:
    """`count` shares of `secret`, any `threshold` of which give it back; the k-th belongs to x = k + 1.

    The first t - 1 shares are drawn: with the secret they fix the polynomial of degree t - 1, every one equally likely,
    as if its coefficients had been drawn. Only the others are computed.
    """
    if len(secret) != SECRET_BYTES or not 2 <= threshold <= count < PRIME:
        raise MisuseError(
            "secret sharing",
            expected=f"a secret of {SECRET_BYTES} bytes and 2 <= threshold <= count",
            got=f"{len(secret)} bytes, {threshold} of {count}",
        )
    values = [int.from_bytes(secret, "big"), *(secrets.randbelow(PRIME) for _ in range(threshold - 1))]
    rest = [sum(map(mul, weights, values)) % PRIME for weights in _weights_beyond(threshold, count)]
    return [value.to_bytes(SHARE_BYTES, "big") for value in (*values[1:], *rest)]


@lru_cache(maxsize=8)
def _weights_beyond(threshold: int, count: int) -> tuple[tuple[int, ...], ...]:
    """Lagrange's weights for f(x) from f(0), ..., f(t - 1), for each x from t to `count`.

    At whole points they are whole: the product of (x - m) / (j - m) over m ≠ j is ± C(x, j) C(x - j - 1, t - 1 - j).
    """
    last = threshold - 1
    return tuple(
        tuple((-1) ** (last - j) * comb(x, j) * comb(x - j - 1, last - j) % PRIME for j in range(threshold))
        for x in range(threshold, count + 1)
    )


def weights_at_zero(points: Sequence[int]) -> tuple[int, ...]:
    """Lagrange's weights for f(0) from f at `points`: once per set of responders, for all their shares."""
    if len(set(points)) != len(points) or not all(0 < x < PRIME for x in points):
        raise MisuseError("share points", expected="different ones, none 0", got=f"{list(points)}")
    weights = []
    for x in points:
        numerator = denominator = 1
        for other in points:
            if other != x:
                numerator = numerator * other % PRIME
                denominator = denominator * (other - x) % PRIME
        weights.append(numerator * pow(denominator, -1, PRIME) % PRIME)
    return tuple(weights)


def combine(shares: Sequence[bytes], weights: Sequence[int]) -> bytes:
    """The 32-byte secret from exactly threshold `shares` and the weights of their points.

    Raises PeerError if what comes out is no secret: then a share was wrong, or the dealer dealt nonsense.
    """
    total = 0
    for share, weight in zip(shares, weights, strict=True):
        total += int.from_bytes(share, "big") * weight
    value = total % PRIME
    if value >> (8 * SECRET_BYTES):
        raise PeerError("shares", expected="those of a 32-byte secret", got="a larger number")
    return value.to_bytes(SECRET_BYTES, "big")
