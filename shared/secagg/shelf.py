"""Room for what the coordinator keeps of each site beside the sum: bundles, commitments to shares, shares of pairs.

Together they grow as n³ (390 MB at 200 sites), so where memory counts they lie in a file (server/file_shelf.py). They
are sealed, or digests, or shares that open nothing but one sum. Whoever puts knows the layout and reads by place.
"""

from typing import Protocol


class Shelf(Protocol):
    """One row of bytes per number; written once, read in parts."""

    def put(self, number: int, data: bytes) -> None:
        """Keep `data` as row `number`."""

    def get(self, number: int, start: int, size: int) -> bytes:
        """`size` bytes of row `number`, from `start` on."""


class MemoryShelf:
    """A shelf in memory, for tests and small cohorts."""

    def __init__(self) -> None:
        self._rows: dict[int, bytes] = {}

    def put(self, number: int, data: bytes) -> None:
        """Keep `data` as row `number`."""
        self._rows[number] = data

    def get(self, number: int, start: int, size: int) -> bytes:
        """`size` bytes of row `number`, from `start` on."""
        return self._rows[number][start : start + size]
