"""A public random rotation that spreads an update's norm evenly over its entries, so that few bits hold each of them.

Arithmetic on few bits wants a bound on every entry, but training bounds the norm alone, and a layer's entries may be
a thousand times another's. After the rotation every entry is about norm ÷ √length (as in arXiv 2102.06387;
the fast rotation is Ailon and Chazelle's, signs and a Walsh-Hadamard transform).

Guarantees: the rotation is orthonormal: norms are kept to 1e-5 and `inverse` gives back what `forward` took, to
float32 accuracy; it is linear, so a sum of rotated updates is turned back once. It depends on seed and length only,
and its bits on no machine: it adds, subtracts and scales in float32 in one fixed order. Extra memory is the result,
a sixteenth of it in signs, and 1 MiB.

How, for `padded` = rows × columns entries, in two equal rounds over the row-major [rows, columns] array:
1. Flip signs, one bit of the key stream per entry: entry e where bit e mod 8 of byte e div 8 is 1, counted from the
   round's first word; a round takes ceil(padded ÷ 32) words.
2. Transform each column (Walsh-Hadamard ÷ √rows). A column holds every `columns`-th entry of the vector, so a
   layer of many entries is shared out evenly. Between the rounds, turn row r left by r places.

Why two rounds: after one, a lone large entry or a small layer (a bias, a normalisation) still sits in a few columns,
at up to √columns times its share. The turn puts floor or ceil(rows ÷ columns) entries of every old column in each
new one, so the second round spreads that too; `columns` is at most `rows`, so no old column is left out of any.

How large an entry gets: it is a sum of independently signed terms, so by Hoeffding it exceeds K standard deviations
with a probability of at most 2 exp(-K²/2), below 1e-9 at K = `SPREAD`. `entry_bound` takes the columns before the
last transform to hold equal energy. They do to about √(2 ÷ rows) for layers of many entries; for a lone entry the
fullest holds at most 1 + columns ÷ rows ≤ 2 times the mean (1.2 at 10 M entries: 3e-8 instead of 1e-9). For every
vector chosen without the seed: an entry exceeds √2 × SPREAD = 9.3 bounds with a probability of at most
(rows + 1) × 1e-9, Hoeffding twice. Seen at 10 M entries: none over the bound, be the energy in all of them, 512, 64, 2,
1 or one column. Who chooses a vector by the seed can make it come out as one entry, √padded ÷ SPREAD bounds
high. To clamp is the caller's part.

    >>> rotation = Rotation(bytes(32), 3)
    >>> rotated = rotation.forward(np.float32([0, 2, 0]))
    >>> np.abs(rotated).tolist(), rotation.inverse(rotated).tolist() == [0, 2, 0]
    ([1.0, 1.0, 1.0, 1.0], True)
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.errors import MisuseError, SiteError
from shared.secagg.keystream import CHUNK, KeyStream

ROTATION_LABEL = "konsil/rotation/v1"

#: Standard deviations that an entry exceeds with a probability of at most 2 exp(-K²/2) < 1e-9.
SPREAD = 6.55

#: Rows of the array; fewer for a vector that has not as many entries, more for one of more than BLOCK² (16.8 M).
BLOCK = 1 << 12
_ROUNDS = 2

#: Entries whose signs are flipped at once.
_PIECE = 1 << 16
#: Entries transformed at once: two buffers of 512 KiB stay in a core's L2 (128 KiB each: 1.5 times slower).
_SLICE = 1 << 17

Floats = NDArray[np.float32]


def padded_length(length: int) -> int:
    """Entries of a rotated vector of `length`: less than `BLOCK` more up to 16.8 M, √length × 2 beyond."""
    rows, columns = _shape(length)
    return rows * columns


def entry_bound(norm: float, length: int) -> float:
    """What an entry of a rotated vector of `length` with an L2 norm up to `norm` hardly ever exceeds; see above."""
    return norm * min(1.0, SPREAD / math.sqrt(padded_length(length)))


@dataclass(frozen=True)
class Rotation:
    """The rotation of vectors [length] under `seed`: 32 public bytes that no update was chosen by."""

    seed: bytes
    length: int

    def __post_init__(self) -> None:
        _shape(self.length)  # refuses none
        KeyStream(self.seed, ROTATION_LABEL)  # refuses a seed of another length

    @property
    def padded(self) -> int:
        """Entries of a rotated vector."""
        return padded_length(self.length)

    def forward(self, update: Floats) -> Floats:
        """`update` float32 [length], which stays as it is, rotated: float32 [padded].

        Raises SiteError for a NaN or an infinity, which clamping afterwards could make look like an update.
        """
        _check("update", update, self.length)
        if not (math.isfinite(update.min()) and math.isfinite(update.max())):  # both hand a NaN on
            raise SiteError(
                "update",
                expected="finite numbers",
                got="one that is not",
                do="Training diverged: nothing was sent. Lower the learning rate.",
            )
        rotated = np.zeros(self.padded, np.float32)
        table = rotated.reshape(_shape(self.length))  # rows × columns
        # both rounds' ÷ √rows at once: a power of two, so exact
        np.multiply(update, 1 / len(table), out=rotated[: self.length])
        first, last = self._signs()
        _flip(rotated, first)
        _transform(table)
        _turn(table, +1)
        _flip(rotated, last)
        _transform(table)
        return rotated

    def inverse(self, total: Floats) -> Floats:
        """A sum of rotated vectors, float32 [padded], which stays as it is, turned back: float32 [length]."""
        _check("total", total, self.padded)
        rows, columns = _shape(self.length)
        update = total * np.float32(1 / rows)
        table = update.reshape(rows, columns)
        first, last = self._signs()
        _transform(table)
        _flip(update, last)
        _turn(table, -1)
        _transform(table)
        _flip(update, first)
        return update[: self.length]

    def _signs(self) -> NDArray[np.uint32]:
        """The sign bits of the rounds, uint32 [rounds, ceil(padded ÷ 32)]."""
        words = np.empty((_ROUNDS, -(-self.padded // 32)), "<u4")
        stream, flat = KeyStream(self.seed, ROTATION_LABEL), words.reshape(-1)
        for start in range(0, flat.size, CHUNK):
            stream.fill(flat[start : start + CHUNK])
        return words


def _shape(length: int) -> tuple[int, int]:
    """Rows and columns for a vector of `length`: powers of two are what the transform is made for."""
    if length < 1:
        raise MisuseError("length of a rotation", expected="1 or more", got=f"{length}")
    most = 1 << (length.bit_length() - 1)
    square = 1 << math.isqrt(length - 1).bit_length()  # the smallest power of two whose square is ≥ length
    rows = min(most, max(BLOCK, square))
    return rows, -(-length // rows)


def _check(name: str, vector: Floats, length: int) -> None:
    if vector.dtype != np.float32 or vector.shape != (length,):
        raise MisuseError(name, expected=f"float32 [{length}]", got=f"{vector.dtype} {list(vector.shape)}")


def _flip(vector: Floats, signs: NDArray[np.uint32]) -> None:
    """Change the sign of each entry whose bit in `signs` is 1, in place."""
    raw, packed = vector.view(np.uint32), signs.view(np.uint8)
    for start in range(0, raw.size, _PIECE):
        piece = raw[start : start + _PIECE]
        bits = np.unpackbits(packed[start // 8 :], count=piece.size, bitorder="little").astype(np.uint32)
        bits <<= 31  # the sign bit of a float32
        piece ^= bits


def _turn(table: Floats, direction: int) -> None:
    """Turn row r of [rows, columns] by r places, to the left (+1) or back (-1), in place."""
    columns = table.shape[1]
    for number, row in enumerate(table):
        cut = direction * number % columns
        row[:] = np.concatenate((row[cut:], row[:cut]))


def _transform(table: Floats) -> None:
    """Walsh-Hadamard of each column of [rows, columns], in place; twice is × rows."""
    rows, columns = table.shape
    width = max(1, _SLICE // rows)
    buffers = np.empty((2, rows * min(width, columns)), np.float32)
    for start in range(0, columns, width):
        part = table[:, start : start + width]  # rows × at most width
        source, target = buffers[:, : part.size]
        source.reshape(part.shape)[:] = part
        half = rows // 2
        while half:
            # pairs × (upper, lower) × (half rows of the slice): upper + lower, upper - lower
            pairs = source.reshape(-1, 2, half * part.shape[1])
            sums = target.reshape(pairs.shape)
            np.add(pairs[:, 0], pairs[:, 1], out=sums[:, 0])
            np.subtract(pairs[:, 0], pairs[:, 1], out=sums[:, 1])
            source, target = target, source
            half //= 2
        part[:] = source.reshape(part.shape)
