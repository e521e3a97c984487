"""Words of a vector: mask streams, packing, counts, quantised numbers, the rotation.

Written from docs/protocol.md, on lists of integers and in the plainest way; see second.py.
"""

import math
from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.vectors.secagg.packed import Refused, digest


def stream(seed: bytes, label: str, size: int, start: int = 0) -> bytes:
    """Bytes `start` to `start` + `size` of the key stream: AES-256-CTR from counter 0, zeros encrypted."""
    cipher = Cipher(algorithms.AES(digest(label, seed)), modes.CTR(bytes(16))).encryptor()
    return cipher.update(bytes(start + size))[start:]


def word_bytes(bits: int) -> int:
    """Bytes of a word while it is summed: uint32, uint16 for narrow ones, and 8 for a count (64 bits)."""
    return {32: 4, 64: 8}.get(bits, 2)


def mask(seed: bytes, length: int, bits: int, start: int = 0) -> list[int]:
    """Words `start` to `start` + `length` of PRG(seed)."""
    size = word_bytes(bits)
    data = stream(seed, "konsil/mask/v1", size * length, size * start)
    return [int.from_bytes(data[at : at + size], "little") for at in range(0, len(data), size)]


def count_mask(seed: bytes, counts: int) -> list[int]:
    """The same seed's masks of counts: a stream of its own, 8 bytes each."""
    return unpack_words(stream(seed, "konsil/mask-counts/v1", 8 * counts), counts, 64)


def add(a: Sequence[int], b: Sequence[int], bits: int, sign: int = 1) -> list[int]:
    """a ± b, word by word, in words of `word_bytes`."""
    modulus = 1 << (8 * word_bytes(bits))
    return [(x + sign * y) % modulus for x, y in zip(a, b, strict=True)]


def pack_words(words: Sequence[int], bits: int) -> bytes:
    """The low `bits` bits of each word, word k from bit k × bits of a little-endian number on."""
    whole = 0
    for place, word in enumerate(words):
        whole |= (word % (1 << bits)) << (place * bits)
    return whole.to_bytes(-(-len(words) * bits // 8), "little")


def unpack_words(data: bytes, length: int, bits: int) -> list[int]:
    """What `pack_words` packed; the bits after the last word must be zero."""
    whole = int.from_bytes(data, "little")
    if len(data) != -(-length * bits // 8) or whole >> (length * bits):
        raise Refused("a packed vector of another length, or with something after its last word")
    return [whole >> (place * bits) & ((1 << bits) - 1) for place in range(length)]


def steps(sites: int, bits: int) -> int:
    """The largest integer one site may send."""
    return ((1 << (bits - 1)) - 1) // sites


def quantize(entry: float, weight: float, bound: float, sites: int, bits: int) -> int:
    """weight × `entry`, which must be a whole number of steps: then no rounding is at chance."""
    scaled = entry * weight * steps(sites, bits) / bound
    if scaled != int(scaled):
        raise ValueError("not a whole number of steps")
    return int(scaled) % (1 << (8 * word_bytes(bits)))


def decode_number(word: int, bound: float, sites: int, bits: int) -> float:
    """The sum Σ weight × entry that a summed word stands for: two's complement of `bits` bits, times bound ÷ steps."""
    word %= 1 << bits
    signed = word - (1 << bits if word >> (bits - 1) else 0)
    return signed * (bound / steps(sites, bits))


def shape(length: int) -> tuple[int, int]:
    """Rows and columns of a vector of `length` entries: rows × columns of them travel."""
    most = 1 << (length.bit_length() - 1)  # the largest power of two up to length
    square = 1
    while square * square < length:
        square *= 2
    rows = min(most, max(4096, square))
    return rows, -(-length // rows)


def rotate(seed: bytes, update: Sequence[float]) -> list[float]:
    """The rotation of `update`, for numbers so small and whole that nothing is rounded."""
    rows, columns = shape(len(update))
    table = list(update) + [0.0] * (rows * columns - len(update))
    for turn, signs in zip((True, False), _signs(seed, rows * columns), strict=True):
        table = _columns([sign * entry for sign, entry in zip(signs, table, strict=True)], rows, columns)
        if turn:
            table = _turn(table, rows, columns, 1)
    return [entry / rows for entry in table]


def rotate_back(seed: bytes, total: Sequence[float], length: int) -> list[float]:
    """What `rotate` turned, of `length` entries."""
    rows, columns = shape(length)
    first, last = _signs(seed, rows * columns)
    table = [sign * entry for sign, entry in zip(last, _columns(list(total), rows, columns), strict=True)]
    table = _columns(_turn(table, rows, columns, -1), rows, columns)
    return [sign * entry / rows for sign, entry in zip(first, table, strict=True)][:length]


def _signs(seed: bytes, entries: int) -> list[list[int]]:
    """±1 for every entry of either round: bit e mod 8 of byte e div 8 is 1 for minus; rounds start at whole words."""
    size = 4 * -(-entries // 32)
    data = stream(seed, "konsil/rotation/v1", 2 * size)
    return [[-1 if data[at + e // 8] >> (e % 8) & 1 else 1 for e in range(entries)] for at in (0, size)]


def _turn(table: list[float], rows: int, columns: int, direction: int) -> list[float]:
    """Row r, turned left by r places (1) or back (-1)."""
    return [table[r * columns + (c + direction * r) % columns] for r in range(rows) for c in range(columns)]


def _columns(table: list[float], rows: int, columns: int) -> list[float]:
    """Each column times the Walsh-Hadamard matrix, whose entry (a, b) is -1 to the number of ones in a & b."""
    return [
        math.fsum((-1) ** (a & b).bit_count() * table[b * columns + c] for b in range(rows))
        for a in range(rows)
        for c in range(columns)
    ]
