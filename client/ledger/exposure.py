"""Who is in which cohorts, as the distinct sets of cohorts that patients are in: an archive of a million patients has
as many of them as its trainings differ, mostly few, at the worst one per patient.

Row 0 is a patient never seen before. Everyone is in cohort 0, whatever the bits say.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: [256, 8]: the bits of every byte, lowest first
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little").astype(bool)
#: the cohort of everyone
EVERYONE = 0


@dataclass(frozen=True)
class Exposures:
    """`bits` uint8 [W, G]: bit i mod 8 of bits[i ÷ 8, g], from the lowest, says whether the patients of set g are in
    cohort i; `ids` int64 [G]: the sets' rows in the table, 0 for the patient never seen."""

    bits: NDArray[np.uint8]
    ids: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Sequence[tuple[int, bytes]]) -> "Exposures":
        """From the table's rows (id, cohorts), whose bits end with the last byte that is not 0."""
        width = max((len(bits) for _, bits in rows), default=0)
        whole = b"\0" * width + b"".join(bits.ljust(width, b"\0") for _, bits in rows)
        ids = np.array([0, *(row for row, _ in rows)], dtype=np.int64)
        bits = np.frombuffer(whole, dtype=np.uint8).reshape(len(rows) + 1, width)
        return cls(np.ascontiguousarray(bits.T), ids)

    def __len__(self) -> int:
        return len(self.ids)

    def has(self, cohort: int) -> NDArray[np.bool_]:
        """[G]: whether the patients of each set are in `cohort`."""
        byte, bit = divmod(cohort, 8)
        if cohort == EVERYONE or byte >= len(self.bits):
            return np.full(len(self), cohort == EVERYONE)
        found: NDArray[np.bool_] = (self.bits[byte] >> bit & 1).astype(bool)
        return found

    def only(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "Exposures":
        """The sets at `rows`."""
        return Exposures(self.bits[:, rows], self.ids[rows])

    def cohorts(self, row: int) -> tuple[int, ...]:
        """The cohorts of set `row`, that of everyone among them."""
        found = np.flatnonzero(np.unpackbits(self.bits[:, row], bitorder="little"))
        return (EVERYONE, *(int(cohort) for cohort in found if cohort != EVERYONE))

    def sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64 [G]: for each set, the sum of `values` float64 [K], one per cohort, over the cohorts in it.

        Eight cohorts at a time by a table of the 256 sums they can have (the method of the Four Russians): a
        microsecond per thousand sets, however many of the eight are in them.
        """
        total = np.full(len(self), values[EVERYONE] if len(values) else 0.0)
        for place in range(min(len(self.bits), (len(values) + 7) // 8)):
            eight = np.zeros(8)
            part = values[8 * place : 8 * place + 8]
            eight[: len(part)] = part
            if place == EVERYONE // 8:
                eight[EVERYONE % 8] = 0.0
            if eight.any():
                table = np.where(_BITS, eight, 0.0).sum(axis=1)
                total += table[self.bits[place]]
        return total


def with_cohort(bits: bytes, cohort: int) -> bytes:
    """The set `bits`, and `cohort` in it."""
    number = int.from_bytes(bits, "little") | 1 << cohort
    return number.to_bytes((number.bit_length() + 7) // 8, "little")
