"""Vectors of words ↔ bytes, `bits` bits a word: what a masked vector takes on a slow link.

Guarantees: a vector of `count` words takes `packed_size(count, bits)` bytes, to the bit, and has one encoding;
bytes of another length, or with a bit set past the last word, are refused. Words of 16 and 32 bits are not
copied. The others are worked on piece by piece: extra memory is the result and a few hundred KB.

Layout: bit k of the encoding is bit k mod 8 of byte k div 8, and bit j of word w is bit w × bits + j of the encoding,
so word 0 sits in the lowest bits of byte 0. At 16 and 32 bits that is plain little-endian.

Two words of 10 bits, 1 and 2^9 + 3: byte 0 holds bits 0 to 7 of word 0; byte 1 its two last (0) and, 4 times
higher, bits 0 to 5 of word 1 (4 × 3 = 12); byte 2 bits 6 to 9 of word 1 (2^9 >> 6 = 8) and 4 bits of zero.

    >>> data = pack_words(np.array([1, 515], np.uint16), 10)
    >>> data.tolist()
    [1, 12, 8]
    >>> unpack_words(data, 2, 10).tolist()
    [1, 515]
"""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shared.errors import MisuseError, PeerError
from shared.secagg.masks import Words

#: Widths packed to the bit; 16 and 32 are the machine's own.
PACKED_BITS = range(10, 16)
WIDTHS = (*PACKED_BITS, 16, 32)
#: The same, as a field of a study and a plan.
Bits = Literal[32, 16, 15, 14, 13, 12, 11, 10]

#: Eight words of b bits are b whole bytes: the unit that is worked on.
_GROUP = 8
#: Words worked on at once: 64 KiB a temporary, a handful of them in a core's L2 together.
_PIECE = 1 << 15


def packed_size(count: int, bits: int) -> int:
    """Bytes of `count` words of `bits` bits."""
    if bits not in WIDTHS:
        raise MisuseError("bits per word", expected="10 to 16, or 32", got=f"{bits}")
    if count < 0:
        raise MisuseError("words", expected="a count of 0 or more", got=f"{count}")
    return -(-count * bits // 8)


def pack_words(words: Words, bits: int) -> memoryview:
    """The low `bits` bits of each of `words`, uint32 [d] at 32 bits and uint16 [d] below; higher bits are dropped.

    At 16 and 32 bits the bytes are those of `words` itself: they change when it does.
    """
    size = packed_size(words.size, bits)
    dtype = word_type(bits)
    if words.dtype != dtype or words.ndim != 1 or not words.flags.c_contiguous:
        raise MisuseError("words", expected=f"contiguous {dtype.name} [d]", got=f"{words.dtype} {list(words.shape)}")
    if bits not in PACKED_BITS:
        return words.view(np.uint8).data
    groups = -(-words.size // _GROUP)
    packed = np.empty((groups, bits), np.uint8)  # whole groups; what is past `size` is cut off below
    narrow = words.view(np.uint16)
    for start in range(0, narrow.size, _PIECE):
        piece = narrow[start : start + _PIECE]
        if piece.size % _GROUP:  # in the last round only
            piece = np.concatenate([piece, np.zeros(-piece.size % _GROUP, np.uint16)])
        first = start // _GROUP
        packed[first : first + piece.size // _GROUP] = _pack_groups(piece, bits)
    return packed.reshape(-1)[:size].data


def unpack_words(data: bytes | memoryview, count: int, bits: int) -> Words:
    """The `count` words in `data`: uint32 at 32 bits, uint16 below.

    At 16 and 32 bits the result is a view of `data`, read-only where that is. Raises PeerError where `data` is no
    encoding of `count` words.
    """
    packed = _checked(data, count, bits)
    if bits not in PACKED_BITS:
        return packed.view(word_type(bits))
    words = np.empty(count, word_type(bits))
    for start, piece in _pieces(packed, count, bits):
        words[start : start + piece.size] = piece
    return words


def add_packed(total: Words, data: bytes | memoryview, bits: int) -> None:
    """Add the words in `data` to `total` in place, wrapping in its dtype, without a second whole vector.

    Below 16 bits a sum mod 2^bits is the low `bits` bits of `total`. Raises PeerError where `data` is no
    encoding of as many words; `total` is then as before.
    """
    narrowest = word_type(bits).itemsize
    unsigned = total.dtype in (np.dtype("<u2"), np.dtype("<u4"))
    if not unsigned or total.dtype.itemsize < narrowest or total.ndim != 1 or not total.flags.writeable:
        raise MisuseError(
            "total",
            expected=f"writable uint16 or uint32 [d] of at least {8 * narrowest} bits",
            got=f"{total.dtype} {list(total.shape)}",
        )
    packed = _checked(data, total.size, bits)
    if bits not in PACKED_BITS:
        total += packed.view(word_type(bits))
        return
    for start, piece in _pieces(packed, total.size, bits):
        total[start : start + piece.size] += piece


def word_type(bits: int) -> np.dtype[Any]:
    """The type that holds a word of `bits` bits before it is packed: uint32 at 32, uint16 below."""
    return np.dtype("<u4") if bits == 32 else np.dtype("<u2")


def _checked(data: bytes | memoryview, count: int, bits: int) -> NDArray[np.uint8]:
    """`data` as bytes [packed_size], a view; PeerError for another length or a bit set past the last word."""
    size = packed_size(count, bits)
    packed = np.frombuffer(data, np.uint8)
    if packed.size != size:
        raise PeerError(f"vector of {count} words of {bits} bits", expected=f"{size} bytes", got=f"{packed.size} bytes")
    used = count * bits % 8
    if used and packed[-1] >> used:
        raise PeerError(
            f"vector of {count} words of {bits} bits",
            expected=f"zeros in the last {8 - used} bits",
            got=f"last byte {packed[-1]:#04x}",
        )
    return packed


def _pieces(packed: NDArray[np.uint8], count: int, bits: int) -> Iterator[tuple[int, NDArray[np.uint16]]]:
    """The words of `packed`, uint16 [at most _PIECE] each, and where each piece starts."""
    for start in range(0, count, _PIECE):
        first = start // _GROUP * bits
        piece = packed[first : first + _PIECE // _GROUP * bits]
        if piece.size % bits:  # in the last round only
            piece = np.concatenate([piece, np.zeros(-piece.size % bits, np.uint8)])
        yield start, _unpack_groups(piece.reshape(-1, bits), bits)[: count - start]


def _pack_groups(words: NDArray[np.uint16], bits: int) -> NDArray[np.uint8]:
    """uint16 [8 g] → bytes [g, bits]: four words move together within 64 bits, then two such halves are joined."""
    four = words.view("<u8")  # [2 g], a word every 16 bits
    two = four & _every(2**bits - 1, 16)
    two = (two & _every(0xFFFF, 32)) | (two & _every(0xFFFF0000, 32)) >> (16 - bits)  # two words every 32 bits
    halves = (two & 0xFFFFFFFF) | (two >> 32) << (2 * bits)  # four words in the lowest 4 × bits
    low, high = halves[0::2], halves[1::2]
    joined = np.empty((low.size, 2), "<u8")  # [g, 128 bits], of which 8 × bits are used
    joined[:, 0] = low | high << (4 * bits)
    joined[:, 1] = high >> (64 - 4 * bits)
    return joined.view(np.uint8)[:, :bits]


def _unpack_groups(packed: NDArray[np.uint8], bits: int) -> NDArray[np.uint16]:
    """Bytes [g, bits] → uint16 [8 g]: the steps of `_pack_groups`, backwards."""
    joined = np.zeros((len(packed), 2), "<u8")
    joined.view(np.uint8)[:, :bits] = packed
    halves = np.empty((len(packed), 2), "<u8")
    halves[:, 0] = joined[:, 0] & (2 ** (4 * bits) - 1)
    halves[:, 1] = joined[:, 0] >> (4 * bits) | joined[:, 1] << (64 - 4 * bits)
    two = (halves & (2 ** (2 * bits) - 1)) | (halves >> (2 * bits)) << 32
    low = 2**bits - 1
    four = np.empty((len(packed), 2), "<u8")
    four[:] = (two & _every(low, 32)) | (two & _every(low << bits, 32)) << (16 - bits)
    return four.view("<u2").reshape(-1)


def _every(mask: int, distance: int) -> int:
    """`mask` repeated every `distance` bits of 64."""
    return sum(mask << place for place in range(0, 64, distance))
