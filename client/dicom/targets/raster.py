"""What is drawn on an image → a mask or boxes on exactly the grid of its canonical tensor.

Guarantees: a voxel of the tensor takes the label of the one pixel of the image in which its centre lies, by the same
geometry that makes the tensor of the image (pixels/resample.py, pixels/volume.py), so that neither can drift from the
other; where labels overlap the study's later one counts; where the tensor shows nothing of the image there is no label.
Nothing but LeftOutError is raised: no_label where the files say nothing of this image, unusable_label where they cannot
be read or do not fit it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from client.dicom.labels.contours import Contours
from client.dicom.labels.drawing import ANY, Drawing
from client.dicom.labels.faults import MaskError, MaskFault
from client.dicom.labels.grid import Mask
from client.dicom.labels.masks import Masked, load_masks
from client.dicom.labels.segmentation import Segmentation
from client.dicom.pixels.resample import Placed, placed
from client.dicom.pixels.volume import fitted_grid, places, regular_grid
from client.dicom.plain import plain
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.targets.boxes import around, padded
from client.dicom.targets.outline import ANY_LABEL, Drawn, Outlined
from client.dicom.targets.scene import Scene, scene_of
from shared.study import Input

Values = NDArray[np.uint8]

#: What a file says that speaks of other images or other labels: another one may speak of these.
_OTHERS = (MaskFault.NO_LABEL, MaskFault.NO_IMAGE)


def mask_of(item: Outlined, spec: Input, labels: tuple[str, ...]) -> Values:
    """uint8 `spec.size`: 0, or 1 + index of the label. Raises LeftOutError."""
    scene = scene_of(item, spec)
    values = _drawn(item, scene, labels)
    if spec.kind == "volume":
        return _volume(values, scene.grid.matrix, spec)
    return _flat(values[0], _place(scene, spec), spec)


def boxes_of(item: Outlined, spec: Input, labels: tuple[str, ...]) -> NDArray[np.float32]:
    """float32 [MOST, 1 + 2 × sides], padded with −1: those of the table, else around what is drawn. Raises
    LeftOutError."""
    if not item.outline.boxes:
        return padded(around(mask_of(item, spec, labels), len(labels)))
    place = _place(scene_of(item, spec), spec)
    boxes = np.array([[box.label, *box.low, *box.high] for box in item.outline.boxes], np.float64)
    scale = np.array(place.inner) / (np.array(place.high) - place.low)
    edges = boxes[:, 1:].reshape(-1, 2, 2)  # [boxes, low and high, row and column]
    edges = ((edges - place.low) * scale).clip(0, place.inner) + place.start
    boxes[:, 1:] = edges.reshape(-1, 4)
    seen = (edges[:, 0] < edges[:, 1]).all(axis=1)  # the others lie where the tensor shows nothing
    return padded(boxes[seen].astype(np.float32))


def _drawn(item: Outlined, scene: Scene, labels: tuple[str, ...]) -> Values:
    """uint8 [slices, rows, columns]: 0, or 1 + index of the label."""
    try:
        loaded = [(drawn, load_masks(drawn.location)) for drawn in item.outline.drawn]
        _require_said(loaded, item, scene)
        values, silent = np.zeros(scene.shape, np.uint8), bool(loaded)
        for index in range(len(labels)):
            for drawn, masked in loaded:
                if (
                    drawn.label in (ANY_LABEL, index)
                    and (found := _found(drawn, masked, index, labels, scene)) is not None
                ):
                    values[found], silent = index + 1, False
    except MaskError:
        raise LeftOutError(Reason.UNUSABLE_LABEL) from None
    if silent:
        raise LeftOutError(Reason.NO_LABEL)
    return values


def _require_said(loaded: Sequence[tuple[Drawn, Masked]], item: Outlined, scene: Scene) -> None:
    """Raises LeftOutError(no_label) if drawings that have no place of their own leave out a slice."""
    if all(_is_flat(masked) for _, masked in loaded):
        said = item.outline.bare.union(*(drawn.files for drawn, _ in loaded))
        if not said.issuperset(scene.owners):
            raise LeftOutError(Reason.NO_LABEL)


def _is_flat(masked: Masked) -> bool:
    return isinstance(masked, Drawing) and masked.affine is None


def _found(drawn: Drawn, masked: Masked, index: int, labels: tuple[str, ...], scene: Scene) -> Mask | None:
    """bool [slices, rows, columns] where `masked` shows the label; None if it speaks of others. Raises MaskError."""
    try:
        if isinstance(masked, Drawing):
            return _on_drawing(drawn, masked, _value(drawn, labels, index), scene)
        return _on_object(masked, _name(drawn, masked, labels[index]), scene)
    except MaskError as error:
        if error.fault in _OTHERS:
            return None
        raise


def _value(drawn: Drawn, labels: tuple[str, ...], index: int) -> str:
    """What pixels of a drawing are the label's: the value that it is called; any, where it is the only one."""
    if drawn.label != ANY_LABEL or (len(labels) == 1 and not labels[index].isdecimal()):
        return ANY
    if not labels[index].isdecimal():
        raise MaskError(MaskFault.UNSUPPORTED)
    return labels[index]


def _name(drawn: Drawn, masked: Segmentation | Contours, label: str) -> str:
    """The segment that is the label's: the one of its name; in a file of that label alone, the only one."""
    only = drawn.label != ANY_LABEL and len(masked.labels) == 1
    return masked.labels[0] if only else label


def _on_object(masked: Segmentation | Contours, label: str, scene: Scene) -> Mask:
    if isinstance(masked, Segmentation) and scene.shape[0] == 1:
        try:
            uid = plain(scene.dataset.get("SOPInstanceUID"))
            return masked.on_image(label, uid, scene.numbers[0] + 1, scene.shape[1:])[None]
        except MaskError as error:
            if error.fault not in (MaskFault.NO_IMAGE, MaskFault.WRONG_SIZE):
                raise
    return masked.on(scene.grid, label)


def _on_drawing(drawn: Drawn, masked: Drawing, value: str, scene: Scene) -> Mask:
    if masked.affine is not None:
        return masked.on(scene.grid, value) if value in (ANY, *masked.labels) else np.zeros(scene.shape, np.bool_)
    if drawn.shared or (scene.frames > 1 and (masked.values.ndim, masked.values.shape[0]) != (3, scene.frames)):
        raise MaskError(MaskFault.WRONG_SIZE)  # of which of the images, or of the frames?
    found = np.zeros(scene.shape, np.bool_)
    for number, (owner, frame) in enumerate(zip(scene.owners, scene.numbers, strict=True)):
        if owner in drawn.files:
            one = Drawing(masked.values[frame]) if scene.frames > 1 else masked
            if one.values.shape != scene.shape[1:]:
                raise MaskError(MaskFault.WRONG_SIZE)
            found[number] = value in (ANY, *one.labels) and one.on_image(value, scene.shape[1:])
    return found


def _place(scene: Scene, spec: Input) -> Placed:
    return placed(scene.shape[1:], (spec.size[0], spec.size[1]), scene.spacing, spec.spacing)


def _flat(values: Values, place: Placed, spec: Input) -> Values:
    """`values` [rows, columns] as `place` says."""
    picks = []
    for low, high, inner, size in zip(place.low, place.high, place.inner, values.shape, strict=True):
        centres = low + (np.arange(inner) + 0.5) * ((high - low) / inner)
        picks.append(np.floor(centres).astype(np.intp).clip(0, size - 1))
    grid = np.zeros(spec.size, np.uint8)
    (top, left), (rows, columns) = place.start, place.inner
    grid[top : top + rows, left : left + columns] = values[np.ix_(*picks)]
    return grid


def _volume(values: Values, affine: NDArray[np.float64], spec: Input) -> Values:
    """`values` [slices, rows, columns] at the nearest voxel of each of the tensor's."""
    size = (spec.size[0], spec.size[1], spec.size[2])
    onto, start = (
        regular_grid(affine, values.shape, size, spec.spacing)
        if spec.spacing
        else fitted_grid(affine, values.shape, size)
    )
    grid = np.zeros(size, np.uint8)
    for number, (where, inside) in enumerate(places(onto, start, size, values.shape)):
        nearest = tuple(
            np.floor(along + 0.5).astype(np.intp).clip(0, length - 1)
            for along, length in zip(where, values.shape, strict=True)
        )
        grid[number] = np.where(inside, values[nearest], 0)
    return grid
