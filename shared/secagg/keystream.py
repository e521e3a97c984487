"""The mask generator PRG: AES-256-CTR as a stream of bytes, read as words (PROTOCOL.md, primitives).

Guarantees: a seed and a label give one stream, whatever pieces it is taken in and wherever a reader begins;
the AES key is the SHA-256 digest of the seed under its label, so masks and dither never share a stream. Block b
(bytes 16 b to 16 b + 15) is AES of b as a big-endian integer of 128 bits. Words are little-endian: word k of a
uint32 vector is bytes 4 k to 4 k + 3, of a uint16 vector bytes 2 k and 2 k + 1.

Pre-conditions: the seed is 32 uniform secret bytes; one stream gives at most 16 GiB, where AES is still within
2^-64 of random.

Speed: OpenSSL's GCM draws the very same blocks as its CTR, and on processors with vector AES instructions twice
as fast, the hash it computes beside them (never asked for here) included. So a long stream goes on under GCM
where a trial at first use finds that faster; the bytes are the same (`_gcm_from`).

`CHUNK` words of vector, of key stream and of zeros stay in a core's L2 together, and the cost of a call is lost
in them: 256 KiB each, by `benchmarks/masking.py --chunks` (32 to 512 KiB tried; flat from 128 KiB on).
"""

import functools
import os
import time

import numpy as np
from cryptography.hazmat.primitives.ciphers import AEADEncryptionContext, Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR, GCM
from numpy.typing import NDArray

from shared.errors import MisuseError
from shared.wire import digest

SEED_BYTES = 32
CHUNK = 1 << 16
CHUNK_BYTES = 4 * CHUNK
BLOCK_BYTES = 16
STREAM_BYTES = 1 << 34

_ZEROS = memoryview(bytes(CHUNK_BYTES))

#: Bytes drawn before GCM takes over: what it then costs to set up (0.05 ms), it saves over 0.7 MB.
_SWITCH_BYTES = 2 * CHUNK_BYTES


class KeyStream:
    """The stream of one seed, read from byte `start`, a multiple of 16, on."""

    def __init__(self, seed: bytes, label: str, *, start: int = 0) -> None:
        if len(seed) != SEED_BYTES:
            raise MisuseError("key stream seed", expected=f"{SEED_BYTES} bytes", got=f"{len(seed)} bytes")
        if start % BLOCK_BYTES or not 0 <= start < STREAM_BYTES:
            raise MisuseError("key stream start", expected=f"a multiple of 16 below {STREAM_BYTES}", got=f"{start}")
        self._key = digest(label, seed)
        self._encryptor: CipherContext = _ctr_from(self._key, start)
        self._at, self._switch_at = start, start + _SWITCH_BYTES

    def fill(self, words: NDArray[np.uint32] | NDArray[np.uint16] | NDArray[np.uint8]) -> None:
        """Overwrite `words`, contiguous and at most `CHUNK_BYTES` bytes, with the next of the stream."""
        data = words.data.cast("B")
        if self._at >= self._switch_at and self._at % BLOCK_BYTES == 0:
            self._switch_at = STREAM_BYTES
            if _gcm_is_faster():
                self._encryptor = _gcm_from(self._key, self._at)
        self._encryptor.update_into(_ZEROS[: len(data)], data)
        self._at += len(data)


def _ctr_from(key: bytes, start: int) -> CipherContext:
    return Cipher(AES256(key), CTR((start // BLOCK_BYTES).to_bytes(16, "big"))).encryptor()


@functools.cache
def _gcm_is_faster() -> bool:
    """Whether GCM gives CTR's very bytes on this machine, a tenth faster: the best of five chunks each, about 1 ms."""
    key, by_ctr, by_gcm = os.urandom(32), bytearray(CHUNK_BYTES), bytearray(CHUNK_BYTES)

    def seconds(encryptor: CipherContext, chunk: bytearray) -> float:
        start = time.perf_counter()
        encryptor.update_into(_ZEROS, chunk)
        return time.perf_counter() - start

    ctr, gcm = _ctr_from(key, 0), _gcm_from(key, 0)
    pairs = [(seconds(ctr, by_ctr), seconds(gcm, by_gcm)) for _ in range(5)]
    return by_gcm == by_ctr and min(pair[1] for pair in pairs) < 0.9 * min(pair[0] for pair in pairs)


# GCM (NIST SP 800-38D) encrypts its first block under J0 + 1, counting in the low 32 bits, which 16 GiB do not
# wrap. From a nonce of 128 bits it derives J0 = (nonce · H + length) · H in GF(2^128), H being AES of zero, so
# nonce = (J0 · H⁻¹ + length) · H⁻¹ makes it begin at any block. Polynomials over GF(2) are Python integers here,
# bit k standing for x^k, the reverse of GCM's order of bits. H is AES's first block and as secret as a mask.

_MODULUS = (1 << 128) | 0x87  # x^128 + x^7 + x^2 + x + 1


def _gcm_from(key: bytes, start: int) -> AEADEncryptionContext:
    """GCM that yields the stream of `key` from byte `start` on."""
    h = _ctr_from(key, 0).update(bytes(BLOCK_BYTES))
    inverse = _inverse(_reversed(int.from_bytes(h, "big")))
    before = _reversed((start // BLOCK_BYTES - 1) % 2**32)
    nonce = _product(_product(inverse, before) ^ _reversed(128), inverse)
    return Cipher(AES256(key), GCM(_reversed(nonce).to_bytes(16, "big"))).encryptor()


def _reversed(number: int) -> int:
    return int(f"{number:0128b}"[::-1], 2)


def _product(a: int, b: int) -> int:
    result = 0
    while b:
        lowest = b & -b
        result ^= a * lowest  # a shift: one bit of b
        b ^= lowest
    while (excess := result.bit_length() - 129) >= 0:
        result ^= _MODULUS << excess
    return result


def _inverse(a: int) -> int:
    """1/a for a ≠ 0, by Euclid: s · a = u and t · a = v (mod the modulus) throughout."""
    u, v, s, t = a, _MODULUS, 1, 0
    while u != 1:
        shift = u.bit_length() - v.bit_length()
        if shift < 0:
            u, v, s, t, shift = v, u, t, s, -shift
        u ^= v << shift
        s ^= t << shift
    return s
