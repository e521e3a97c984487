"""What an image becomes before any network sees it: the study's [input]."""

from typing import Annotated, Literal

from msgspec import Meta

from shared.study.words import Modality, Positive, Side
from shared.wire import Record


class Input(Record, frozen=True):
    """The canonical tensor asked for (DICOM.md §8): channels × rows × columns, for volumes channels × slices × rows ×
    columns; float32 in [0, 1].

    `size` is (rows, columns), for volumes (slices, rows, columns). `spacing`, in mm and in the order of `size`, fixes
    how large a pixel is: the image is cropped or padded around its centre; without it the whole is fitted into `size`.
    """

    modalities: tuple[Modality, ...]
    size: Annotated[tuple[Side, ...], Meta(min_length=2, max_length=3)]
    #: what becomes one tensor: a frame; a frame between its neighbours as channels (2.5D); a whole volume
    kind: Literal["image", "stack", "volume"] = "image"
    color: bool = False
    #: "file": the image's own VOI window; "percentile": 1st to 99th; or a fixed (centre, width)
    window: Literal["file", "percentile"] | tuple[float, float] = "file"
    spacing: Annotated[tuple[Positive, ...], Meta(min_length=2, max_length=3)] | None = None
    #: slices taken on either side, for kind = "stack"
    neighbours: Annotated[int, Meta(ge=0, le=16)] = 0
    #: of objects with several frames: each is an image, or the middle one, or the object is left out
    frames: Literal["each", "middle", "none"] = "each"
    #: images meant to be looked at, or raw detector data (0008,0068); one that does not say is taken for the former
    intent: Literal["presentation", "processing"] = "presentation"

    def __post_init__(self) -> None:
        if isinstance(self.window, tuple) and not (abs(self.window[0]) < 1e9 and 0 < self.window[1] < 1e9):
            raise ValueError("window as [centre, width], the width above 0")
        sides = 3 if self.kind == "volume" else 2
        if len(self.size) != sides or len(self.spacing or self.size) != sides:
            raise ValueError(f'size and spacing of {sides} numbers with kind = "{self.kind}"')
        if self.color and self.kind != "image":
            raise ValueError('color only with kind = "image"')
        if (self.neighbours > 0) != (self.kind == "stack"):
            raise ValueError('neighbours above 0 with kind = "stack", and only there')

    @property
    def channels(self) -> int:
        """Channels of the tensor."""
        return 3 if self.color else 2 * self.neighbours + 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one tensor: (channels, rows, columns) or (channels, slices, rows, columns)."""
        return (self.channels, *self.size)
