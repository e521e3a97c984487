"""The frames that a mask is drawn on: how large they are, where they lie, of which files. No pixel is decoded.

>>> scene_of(item, spec).shape  # slices, rows, columns
(1, 150, 200)
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from pydicom.dataset import Dataset

from client.dicom.canonical import OBJECT_LIMIT, tile_in
from client.dicom.geometry.frame import Frame
from client.dicom.geometry.frames import object_frames
from client.dicom.geometry.values import normal_of
from client.dicom.labels.faults import MaskError, MaskFault
from client.dicom.labels.grid import Grid
from client.dicom.pixels.layout import layout_of
from client.dicom.pixels.objects import open_object
from client.dicom.pixels.spacing import Spacing, spacing_of
from client.dicom.pixels.volume import VOXELS_LIMIT
from client.dicom.plain import plain
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning.containers import read
from client.dicom.targets.outline import Outlined
from shared.study import Input


@dataclass(frozen=True)
class Scene:
    """The frames that a mask is drawn on. `dataset`: the object of the first of them, which has `frames`; `numbers`:
    their places in their objects, from 0; `owners`: their files; `shape`: slices, rows, columns; `affine`: (slice, row,
    column, 1) → LPS mm, None if unknown."""

    dataset: Dataset = field(repr=False)
    frames: int
    numbers: tuple[int, ...]
    owners: tuple[bytes, ...]
    shape: tuple[int, int, int]
    affine: tuple[float, ...] | None
    spacing: Spacing

    @property
    def grid(self) -> Grid:
        """Raises MaskError(no_image): nobody can say whether a mask lies in images that lie nowhere."""
        if self.affine is None:
            raise MaskError(MaskFault.NO_IMAGE)
        return Grid(self.affine, self.shape, plain(self.dataset.get("FrameOfReferenceUID")) or None)


def scene_of(item: Outlined, spec: Input) -> Scene:
    """The frames of `item` that a mask of it is of: all of a volume, the middle one of a stack. Raises LeftOutError."""
    chosen = range(len(item.parts)) if spec.kind == "volume" else (spec.neighbours,)
    part = item.parts[chosen[0]]
    dataset = open_object(read(part.location, OBJECT_LIMIT, part.stamp))
    layout, tile = layout_of(dataset), tile_in(dataset, part.frame)
    rows, columns = (layout.rows, layout.columns) if tile is None else tile[2:]
    shape = (len(chosen), rows, columns)
    affine = item.affine if spec.kind == "volume" else _affine(object_frames(dataset), part.frame)
    if spec.kind == "volume" and (affine is None or len(chosen) * rows * columns > VOXELS_LIMIT):
        raise LeftOutError(Reason.NO_GEOMETRY if affine is None else Reason.TOO_LARGE)
    spacing = spacing_of(dataset, 0 if tile else part.frame)
    frames = layout.frames if tile is None else len(object_frames(dataset))
    numbers, owners = zip(*((item.parts[at].frame, item.owners[at]) for at in chosen), strict=True)
    return Scene(dataset, frames, numbers, owners, shape, affine, spacing)


def _affine(frames: Sequence[Frame], index: int) -> tuple[float, ...] | None:
    """Of a lone slice, 1 mm thick."""
    frame = frames[index] if index < len(frames) else None
    if frame is None or frame.position is None or frame.orientation is None or frame.spacing is None:
        return None
    right, down = np.array(frame.orientation).reshape(2, 3)
    affine = np.eye(4)
    steps = (np.array(normal_of(frame.orientation)), down * frame.spacing[0], right * frame.spacing[1], frame.position)
    affine[:3] = np.stack(steps, axis=1)
    return tuple(map(float, affine.ravel()))
