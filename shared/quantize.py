"""Floats ↔ integers mod 2^32, and counts ↔ limbs, for vectors that are summed masked (PROTOCOL.md, the vector).

Guarantees: the sum over at most `sites` sites cannot wrap; rounding is stochastic and unbiased (the expected
integer is the scaled value to 2^-25 of a step); a value outside ±bound, a NaN or an infinity is an error and
gives nothing. The dither comes from AES-256-CTR under a fresh key: rounding tells nobody's random state.

Scale: one step is `bound / steps`, `steps` the largest integer a site may send. With weight w in (0, 1] a
site sends w × update; each entry is off by less than one step, so a decoded sum over n sites by less than n.

Not promised: privacy. Noise is added by the caller, before this.

    >>> quantizer = Quantizer(bound=1.0, sites=2)
    >>> total = quantizer.encode(np.float32([0.5, -1]), 1.0) + quantizer.encode(np.float32([0.25, -1]), 1.0)
    >>> quantizer.decode(total).round(6).tolist()
    [0.75, -2.0]
"""

import os
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from shared.errors import MisuseError, SiteError
from shared.secagg.keystream import KeyStream
from shared.wire import Record

DITHER_LABEL = "konsil/dither/v1"

#: Elements worked on at once: float64 scratch of 256 KiB each stays in L2 (8 Ki elements: 1.4 times slower).
_PIECE = 1 << 15

#: A count is four limbs of 16 bits, each in a slot of 32: sums over this many sites cannot wrap.
LIMBS = 4
MOST_COUNTERS = 1 << 16


class Quantizer(Record, frozen=True):
    """The largest magnitude of an entry, and the most sites whose vectors are summed. Part of the plan."""

    bound: Annotated[float, Meta(gt=0, lt=1e9)]
    sites: Annotated[int, Meta(ge=2, le=MOST_COUNTERS)]

    @property
    def steps(self) -> int:
        """The largest magnitude of one site's integers: `sites` × `steps` < 2^31."""
        return (2**31 - 1) // self.sites

    def encode(
        self,
        update: NDArray[np.float32],
        weight: float,
        *,
        seed: bytes | None = None,
        out: NDArray[np.uint32] | None = None,
    ) -> NDArray[np.uint32]:
        """weight × `update` [d] as uint32 [d], two's complement, into `out` where given.

        `seed`: 32 bytes that fix the dither, for tests. Raises SiteError for an entry outside ±bound or not
        a number, MisuseError for another dtype, shape or weight; what `out` then holds is of no use.
        """
        out = np.empty(update.shape, np.uint32) if out is None else out
        self._check(update, weight, out)
        dither = KeyStream(os.urandom(32) if seed is None else seed, DITHER_LABEL)
        size = min(_PIECE, update.size)
        words, value, offset = np.empty(size, np.uint32), np.empty(size), np.empty(size)
        for start in range(0, update.size, _PIECE):
            piece = update[start : start + _PIECE]
            self._check_range(piece, start)
            n = piece.size
            words, value, offset = words[:n], value[:n], offset[:n]  # shorter in the last round only
            dither.fill(words)
            # rint(x + u) with u uniform in [-1/2, 1/2) is x on average. float64 holds x, below 2^31, and u
            # to 2^-22 of a step; the rounding of x + u to nearest is itself unbiased.
            np.copyto(value, piece)
            np.multiply(value, weight * self.steps / self.bound, out=value)
            np.copyto(offset, words.view(np.int32))
            np.multiply(offset, 2.0**-32, out=offset)
            np.add(value, offset, out=value)
            np.rint(value, out=value)
            np.copyto(out[start : start + n].view(np.int32), value, casting="unsafe")
        return out

    def decode(self, total: NDArray[np.uint32]) -> NDArray[np.float32]:
        """The sum Σ weight × update, float32 [d], of a sum of encodings."""
        result = np.empty(total.shape, np.float32)
        np.multiply(total.view(np.int32), self.bound / self.steps, out=result, casting="same_kind")
        return result

    def _check(self, update: NDArray[np.float32], weight: float, out: NDArray[np.uint32]) -> None:
        if update.dtype != np.float32 or update.ndim != 1 or not update.flags.c_contiguous:
            raise MisuseError("update", expected="float32 [d]", got=f"{update.dtype} {list(update.shape)}")
        if out.dtype != np.uint32 or out.shape != update.shape:
            raise MisuseError("out", expected=f"uint32 {list(update.shape)}", got=f"{out.dtype} {list(out.shape)}")
        if not 0 < weight <= 1:
            raise MisuseError("weight", expected="in (0, 1], the share of the study's max_images", got=f"{weight}")

    def _check_range(self, piece: NDArray[np.float32], start: int) -> None:
        low, high = float(piece.min()), float(piece.max())
        if not (-self.bound <= low and high <= self.bound):  # true of NaN, which min and max hand on
            raise SiteError(
                f"update, entries {start} to {start + piece.size - 1}",
                expected=f"finite numbers in ±{self.bound:g}",
                got="one that is not",
                do="Training diverged or was not clipped: nothing was sent. Lower the learning rate.",
            )


def encode_counts(values: Sequence[int]) -> NDArray[np.uint32]:
    """`values` in [0, 2^64), as uint32 [4 k]: each in four limbs of 16 bits, lowest first."""
    for value in values:
        if not 0 <= value < 2**64:
            raise MisuseError("count", expected="a whole number in [0, 2^64)", got="one outside")
    limbs = np.array(values, np.dtype("<u8")).view(np.dtype("<u2"))
    return limbs.astype(np.uint32)


def decode_counts(total: NDArray[np.uint32]) -> list[int]:
    """The k sums of a sum of at most `MOST_COUNTERS` vectors of `encode_counts`, exact whatever their size."""
    if total.ndim != 1 or total.size % LIMBS:
        raise MisuseError("counts", expected=f"uint32 [{LIMBS} k]", got=f"{total.dtype} {list(total.shape)}")
    rows: list[list[int]] = total.reshape(-1, LIMBS).tolist()  # k × limbs
    return [sum(limb << (16 * place) for place, limb in enumerate(row)) for row in rows]
