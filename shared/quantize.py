"""Floats ↔ integers mod 2^bits, for vectors that are summed masked (PROTOCOL.md, the vector).

Guarantees: the sum over at most `sites` sites cannot wrap; rounding is stochastic and unbiased: a whole number of
steps is kept, and the expected integer of any other value is the value to 2^-16 of a step at 32 bits and, below,
to 2^-8 of a step (and 2^-22 of the value, float32's own precision), as often above as below. A NaN or an infinity
is an error. A value outside ±bound is an error too at 32 bits; at fewer it is clamped to the bound and counted, for
there the caller spreads the update evenly before (by a rotation) and such values are one in a billion: what is cut
off is lost, a bias as rare.

The dither comes from AES-256-CTR under a fresh key, two bytes an entry (one below 32 bits): rounding tells nobody's
random state, and the dither of an entry follows from the key and its place alone, whatever pieces the update is
encoded in.

Scale: one step is `bound / steps`, `steps` the largest integer a site may send. With weight w in (0, 1] a
site sends w × update; each entry is off by less than one step, so a decoded sum over n sites by less than n.

Not promised: privacy. Noise is added by the caller, before this, and what rounding does after it costs none.

    >>> quantizer = Quantizer(bound=1.0, sites=2)
    >>> total = quantizer.encode(np.float32([0.5, -1]), 1.0) + quantizer.encode(np.float32([0.25, -1]), 1.0)
    >>> quantizer.decode(total).round(6).tolist()
    [0.75, -2.0]
"""

import os
import threading
from typing import Annotated, Any, NamedTuple

import numpy as np
from msgspec import Meta
from numpy.typing import DTypeLike, NDArray

from shared.errors import MisuseError, SiteError
from shared.secagg.keystream import BLOCK_BYTES, KeyStream
from shared.secagg.masks import Words
from shared.secagg.packing import WIDTHS, word_type
from shared.wire import Record

DITHER_LABEL = "konsil/dither/v1"

#: The most sites whose vectors are summed.
MOST_SITES = 1 << 16

#: Entries worked on at once: 256 KiB as float64, which stay in L2 (8 Ki entries: 1.3 times slower).
_PIECE = 1 << 15


class _Arithmetic(NamedTuple):
    """Values are scaled to units, `units` of them a step; the dither is a whole number of units. The floats from
    `magic` on are one step apart: added to it a value is rounded to whole steps, and the lowest bits of the float,
    read as an `integer`, are the number of steps, two's complement."""

    value: DTypeLike
    integer: DTypeLike
    dither: DTypeLike
    units: int
    magic: float


#: A whole word has up to 2^30 steps, so it takes doubles, whose last bit is worth 1 from 2^52 on.
_WHOLE = _Arithmetic(np.float64, np.uint64, np.dtype("<i2"), 1 << 16, 1.5 * 2.0 ** (52 + 16))
#: A narrow one has up to 2^14 steps, 2^22 units, which float32 still tells apart: half the work.
_NARROW = _Arithmetic(np.float32, np.uint32, np.dtype("i1"), 1 << 8, 1.5 * 2.0 ** (23 + 8))


class Quantizer(Record, frozen=True):
    """The largest magnitude of an entry, the most sites whose vectors are summed, the bits of a summed word.
    Part of the plan."""

    bound: Annotated[float, Meta(gt=0, lt=1e9)]
    sites: Annotated[int, Meta(ge=2, le=MOST_SITES)]
    bits: int = 32

    def __post_init__(self) -> None:
        if self.bits not in WIDTHS:
            raise ValueError(f"bits: expected 32 or 10 to 16, got {self.bits}")
        if self.steps < 1:
            raise ValueError(
                f"sites: expected fewer than {2 ** (self.bits - 1)} with {self.bits} bits, got {self.sites}"
            )

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of encodings and their sums."""
        return word_type(self.bits)

    @property
    def steps(self) -> int:
        """The largest magnitude of one site's integers: `sites` × `steps` < 2^(bits - 1)."""
        return int(2 ** (self.bits - 1) - 1) // self.sites

    def encoder(self, update: NDArray[np.float32], weight: float, *, seed: bytes | None = None) -> "Encoder":
        """What writes weight × `update` [d] piece by piece, a `Fill` for `add_masks`.

        `seed`: 32 bytes that fix the dither, for tests. Raises MisuseError for another dtype, shape or weight.
        """
        return Encoder(self, update, weight, os.urandom(32) if seed is None else seed)

    def encode(self, update: NDArray[np.float32], weight: float, seed: bytes | None = None) -> Words:
        """weight × `update` [d] as integers [d]; raises as `encoder` and what it returns."""
        encoder = self.encoder(update, weight, seed=seed)
        out: Words = np.empty(update.shape, self.dtype)
        encoder(0, out)
        return out

    def decode(self, total: Words) -> NDArray[np.float32]:
        """The sum Σ weight × update, float32 [d], of a sum of encodings, read mod 2^bits."""
        words = total.astype(self.dtype, copy=False)
        spare = 8 * words.itemsize - self.bits  # shifted out, so that the sign is the dtype's own
        signed = (words << spare if spare else words).view("<i4" if self.bits == 32 else "<i2")
        result = np.empty(total.shape, np.float32)
        np.multiply(signed, self.bound / (self.steps << spare), out=result, casting="same_kind")
        return result


class Encoder:
    """Writes one site's integers, two's complement over the whole dtype; safe to call from several threads.

    Raises SiteError for an entry that is not finite or, at 32 bits, outside ±bound: nothing may then be sent.
    `clamped` counts the entries outside ±bound that fewer bits clamped, in the pieces written so far.
    """

    def __init__(self, quantizer: Quantizer, update: NDArray[np.float32], weight: float, seed: bytes) -> None:
        if update.dtype != np.float32 or update.ndim != 1 or not update.flags.c_contiguous:
            raise MisuseError("update", expected="float32 [d]", got=f"{update.dtype} {list(update.shape)}")
        if not 0 < weight <= 1:
            raise MisuseError("weight", expected="in (0, 1], the share of the study's max_images", got=f"{weight}")
        self.clamped = 0
        self._whole, self._dtype = quantizer.bits == 32, quantizer.dtype
        self._limit = _float32_below(quantizer.bound)  # no entry lies between it and the bound
        self._arithmetic = _WHOLE if self._whole else _NARROW
        scale = weight * quantizer.steps * self._arithmetic.units / quantizer.bound
        self._scale = scale if self._whole else _float32_below(scale)  # so that the bound stays within the steps
        self._update, self._seed = update, seed
        self._lock, self._local = threading.Lock(), threading.local()

    def __call__(self, start: int, piece: Words) -> None:
        """Overwrite `piece` with the integers of entries `start` to `start` + len(`piece`) - 1."""
        stop = start + piece.size
        if piece.dtype != self._dtype or not 0 <= start <= stop <= self._update.size:
            expected = f"{self._dtype.name} within [0, {self._update.size})"
            raise MisuseError("piece", expected=expected, got=f"{piece.dtype.name} [{start}, {stop})")
        desk = self._desk(start)
        for at in range(start, stop, _PIECE):
            end = min(at + _PIECE, stop)
            self._encode(desk, at, self._update[at:end], piece[at - start : end - start])

    def _encode(self, desk: "_Desk", start: int, entries: NDArray[np.float32], out: Words) -> None:
        outside = self._check(start, entries)
        value, dither = desk.value[: entries.size], desk.draw(entries.size)
        if outside:
            np.clip(entries, -self._limit, self._limit, out=value)
        else:
            np.copyto(value, entries)
        np.multiply(value, self._scale, out=value)
        # rint(x + u) with u uniform in (-1/2, 1/2) is x on average. u is an odd number of units: no sum of it and a
        # whole x lies halfway, so whole steps stay, and x at the bound is not rounded beyond it.
        np.bitwise_or(dither, 1, out=dither)
        np.add(value, dither, out=value)
        np.add(value, self._arithmetic.magic, out=value)
        np.copyto(out, value.view(self._arithmetic.integer), casting="unsafe")  # the low bits

    def _check(self, start: int, entries: NDArray[np.float32]) -> bool:
        """Whether an entry is to be clamped."""
        low, high = float(entries.min()), float(entries.max())
        if -self._limit <= low and high <= self._limit:  # false of NaN, which min and max hand on
            return False
        if self._whole or not -np.inf < low <= high < np.inf:
            raise SiteError(
                f"update, entries {start} to {start + entries.size - 1}",
                expected=f"finite numbers in ±{self._limit:g}" if self._whole else "finite numbers",
                got="one that is not",
                do="Training diverged or was not clipped: nothing was sent. Lower the learning rate.",
            )
        count = int(np.count_nonzero(entries > self._limit) + np.count_nonzero(entries < -self._limit))
        with self._lock:
            self.clamped += count
        return True

    def _desk(self, start: int) -> "_Desk":
        """This thread's, kept from its last piece: one for every chunk were a sixth of the work."""
        desk: _Desk | None = getattr(self._local, "desk", None)
        if desk is None or desk.at != start:
            desk = self._local.desk = _Desk(self._arithmetic, self._seed, start, min(_PIECE, self._update.size))
        return desk


class _Desk:
    """What one thread works with: scratch, and the dither from entry `at` on."""

    def __init__(self, arithmetic: _Arithmetic, seed: bytes, start: int, size: int) -> None:
        self.value, self._dither, self.at = np.empty(size, arithmetic.value), np.empty(size, arithmetic.dither), start
        self._bytes = self._dither.view(np.uint8)
        first = start * self._dither.itemsize
        self._stream = KeyStream(seed, DITHER_LABEL, start=first - first % BLOCK_BYTES)
        self._stream.fill(np.empty(first % BLOCK_BYTES, np.uint8))

    def draw(self, count: int) -> NDArray[Any]:
        """The dither of the next `count` entries, valid until the next call."""
        self._stream.fill(self._bytes[: count * self._dither.itemsize])
        self.at += count
        return self._dither[:count]


def _float32_below(number: float) -> float:
    """The largest float32 up to `number` > 0."""
    nearest = np.float32(number)
    return float(nearest if float(nearest) <= number else np.nextafter(nearest, np.float32(0)))
