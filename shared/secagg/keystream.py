"""The mask generator PRG: AES-256-CTR as a stream of uint32 words (PROTOCOL.md, primitives).

Guarantees: a seed and a label give one stream, whatever pieces it is taken in; the AES key is the SHA-256
digest of the seed under its label, so masks and dither never share a stream. Word k is bytes 4k to 4k+3 of
the stream, little-endian.

Pre-conditions: the seed is 32 uniform secret bytes; one stream gives at most 2^32 words (16 GiB), where AES
is still within 2^-64 of random.

`CHUNK` words of vector, of key stream and of zeros stay in a core's L2 together, and the cost of a call is lost
in them: 256 KiB each, by `benchmarks/masking.py --chunks` (32 KiB to 2 MiB tried;
flat from 128 to 512 KiB).
"""

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from numpy.typing import NDArray

from shared.errors import MisuseError
from shared.wire import digest

SEED_BYTES = 32
CHUNK = 1 << 16

_ZEROS = memoryview(bytes(4 * CHUNK))
#: A key encrypts one stream only, so its counter starts at zero.
_COUNTER = bytes(16)


class KeyStream:
    """The stream of one seed, read from its beginning on."""

    def __init__(self, seed: bytes, label: str) -> None:
        if len(seed) != SEED_BYTES:
            raise MisuseError("key stream seed", expected=f"{SEED_BYTES} bytes", got=f"{len(seed)} bytes")
        self._encryptor = Cipher(AES256(digest(label, seed)), CTR(_COUNTER)).encryptor()

    def fill(self, words: NDArray[np.uint32]) -> None:
        """Overwrite `words`, at most `CHUNK` of them and contiguous, with the next of the stream."""
        data = words.data.cast("B")
        self._encryptor.update_into(_ZEROS[: len(data)], data)
