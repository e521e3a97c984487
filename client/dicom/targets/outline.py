"""What is drawn on an image: files of masks, or boxes; and the image with it, to be decoded apart from its pixels.

Guarantees: the name of an `Outlined` changes with the image, with any file drawn on it, and with the boxes; its `repr`
tells no path.
"""

from dataclasses import dataclass, field

from client.dicom.item import Item, Location
from shared.wire import digest

#: Label of a file that may hold any of the study's, under their own names.
ANY_LABEL = -1


@dataclass(frozen=True)
class Drawn:
    """A file of masks. `label`: index of the one label it is of, or ANY_LABEL; `name`: 16 bytes that name it and its
    state; `files`: those of the images (Entry.file) that it is said to be drawn on; `shared`: it is said of a series,
    a study or a patient, so that a drawing without a place of its own could be of any of their images."""

    location: Location = field(repr=False)
    label: int
    name: bytes
    files: frozenset[bytes]
    shared: bool = False


@dataclass(frozen=True)
class Box:
    """`label`: index; `low`, `high`: (row, column) of its edges in pixels of the image, whose first is from 0 to 1."""

    label: int
    low: tuple[float, float]
    high: tuple[float, float]


@dataclass(frozen=True)
class Outline:
    """What is drawn on one image or on the slices of a volume. `bare`: files on which there is nothing to draw."""

    drawn: tuple[Drawn, ...] = ()
    bare: frozenset[bytes] = frozenset()
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Outlined(Item):
    """An item with its outline. `owners`: of each part the file (Entry.file) it is a frame of."""

    outline: Outline = Outline()
    owners: tuple[bytes, ...] = ()

    @property
    def files(self) -> frozenset[Location]:
        """The images' and those of the masks."""
        return frozenset(part.location for part in self.parts) | {drawn.location for drawn in self.outline.drawn}


def outlined(item: Item, outline: Outline, owners: tuple[bytes, ...]) -> Outlined:
    """`item` with `outline`, named by both."""
    said = (f"{drawn.label} ".encode() + drawn.name + b"".join(sorted(drawn.files)) for drawn in outline.drawn)
    name = digest("konsil/outlined/v1", item.name, repr(outline.boxes).encode(), b"".join(sorted(outline.bare)), *said)
    return Outlined(name[:16], item.parts, item.affine, outline, owners)
