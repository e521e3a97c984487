"""Adding masks to a vector: y ± PRG(seed) ± ... (mod 2^32 or 2^16; counts mod 2^64) (PROTOCOL.md, step 1 and 4).

Guarantees: all masks are added in one pass over the vector, in place, wrapping; the extra memory is one
chunk of key stream for each thread, whatever the length and however many the seeds. `add_masks` twice with
opposite signs gives the vector back bit for bit. The number of threads changes no bit of the result.

A `Fill` writes the vector within the same pass, so that what it writes is masked while it is in the cache.

    >>> vector = np.arange(3, dtype=np.uint32)
    >>> add_masks(vector, [(bytes(32), +1)])
    >>> add_masks(vector, [(bytes(32), -1)])
    >>> vector.tolist()
    [0, 1, 2]
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shared.errors import MisuseError
from shared.secagg.keystream import CHUNK_BYTES, KeyStream

MASK_LABEL = "konsil/mask/v1"
COUNT_LABEL = "konsil/mask-counts/v1"

Sign = Literal[1, -1]

Words = NDArray[np.uint32] | NDArray[np.uint16]

#: fill(start, piece) writes words start to start + len(piece) - 1 of the unmasked vector into `piece`. It may
#: be called from any thread, and is called once for each word.
Fill = Callable[[int, Words], None]

#: 64 bits, wrapping: what is counted exactly.
Counts = NDArray[np.uint64]

_DTYPES = (np.dtype("<u4"), np.dtype("<u2"))


def filled(words: Words) -> Fill:
    """The fill that copies `words`."""

    def fill(start: int, piece: Words) -> None:
        np.copyto(piece, words[start : start + piece.size])

    return fill


def check_vector(vector: Words, length: int) -> None:
    """Raise MisuseError unless `vector` is uint32 or uint16 [length], contiguous and writable."""
    if vector.dtype not in _DTYPES or vector.shape != (length,):
        raise MisuseError("vector", expected=f"uint32 or uint16 [{length}]", got=f"{vector.dtype} {list(vector.shape)}")
    if not (vector.flags.c_contiguous and vector.flags.writeable):
        raise MisuseError("vector", expected="contiguous and writable", got="a view that is not")


def add_count_masks(counts: Counts, masks: Sequence[tuple[bytes, Sign]]) -> None:
    """Add sign × PRG(seed), a stream of its own of 64-bit words, to `counts` in place; they are few."""
    words = np.empty(counts.size, "<u8")
    for seed, sign in masks:
        stream, raw = KeyStream(seed, COUNT_LABEL), words.view(np.uint8)
        for start in range(0, raw.size, CHUNK_BYTES):
            stream.fill(raw[start : start + CHUNK_BYTES])
        (np.add if sign > 0 else np.subtract)(counts, words, out=counts)


def add_masks(
    vector: Words,
    masks: Sequence[tuple[bytes, Sign]],
    *,
    fill: Fill | None = None,
    threads: int = 1,
) -> None:
    """Add sign × PRG(seed) to `vector` in place for every (seed of 32 bytes, sign) of `masks`.

    `fill` writes the vector first, where given; what it raises is raised here, and the vector is then of no
    use. A wrong argument is refused before a word is written.
    """
    check_vector(vector, vector.size)
    if threads < 1:
        raise MisuseError("threads", expected="at least 1", got=f"{threads}")
    runs = [_Run(vector, masks, fill, start, stop) for start, stop in _ranges(vector, threads)]
    if len(runs) == 1:
        runs[0]()
        return
    with ThreadPoolExecutor(len(runs)) as pool:
        for future in [pool.submit(run) for run in runs]:
            future.result()


def _ranges(vector: Words, threads: int) -> list[tuple[int, int]]:
    """`vector` in at most `threads` parts of whole chunks, so that each begins at a whole block of key stream."""
    chunk = CHUNK_BYTES // vector.itemsize
    part = max(-(-vector.size // (chunk * threads)), 1) * chunk
    return [(start, min(start + part, vector.size)) for start in range(0, max(vector.size, 1), part)]


class _Run:
    """One thread's part of the pass: words `start` to `stop` - 1."""

    def __init__(
        self,
        vector: Words,
        masks: Sequence[tuple[bytes, Sign]],
        fill: Fill | None,
        start: int,
        stop: int,
    ) -> None:
        self._vector, self._fill, self._start, self._stop = vector, fill, start, stop
        offset = start * vector.itemsize
        self._streams = [
            (KeyStream(seed, MASK_LABEL, start=offset), np.add if sign > 0 else np.subtract) for seed, sign in masks
        ]

    def __call__(self) -> None:
        chunk = CHUNK_BYTES // self._vector.itemsize
        words = np.empty(min(chunk, self._stop - self._start), self._vector.dtype)
        for start in range(self._start, self._stop, chunk):
            piece = self._vector[start : min(start + chunk, self._stop)]
            mask = words[: piece.size]
            if self._fill is not None:
                self._fill(start, piece)
            for stream, apply in self._streams:
                stream.fill(mask)
                apply(piece, mask, out=piece)
