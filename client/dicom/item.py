"""What becomes one tensor: an image, a slice with its neighbours, or a volume; and where its bytes lie."""

from dataclasses import dataclass
from pathlib import Path

#: Size, time of change in ns, inode of a file: while they stay, it is the file that was scanned.
Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class Location:
    """A file, or the file `member` inside the zip at `path`."""

    path: Path
    member: str = ""


@dataclass(frozen=True)
class Part:
    """Frame `frame` (from 0) of the object at `location`, whose file had `stamp` when it was scanned."""

    location: Location
    stamp: Stamp
    frame: int = 0


@dataclass(frozen=True)
class Item:
    """`name`: 16 bytes that name the content, wherever it lies. `parts` in the order of the tensor's slices: one for an
    image, 2 × neighbours + 1 for a stack, all slices for a volume. `affine`: of a volume, 16 numbers row by row,
    (slice, row, column, 1) → LPS mm."""

    name: bytes
    parts: tuple[Part, ...]
    affine: tuple[float, ...] | None = None

    @property
    def files(self) -> frozenset[Location]:
        """All that is opened to make it."""
        return frozenset(part.location for part in self.parts)
