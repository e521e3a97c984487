"""The frames of objects that count them off in vectors: nuclear medicine (PS3.3 C.8.4.8) and dose grids (C.8.8.3).

Guarantees: only reconstructed slices have a place; the projections of a camera have none. Here, and here only, the
distance of slices is Spacing Between Slices (0018,0088): the standard has no other place for it, and gives it a sign.
"""

from pydicom.dataset import Dataset

from client.dicom.geometry.frame import Directions, Frame, Point
from client.dicom.geometry.values import (
    apart_of,
    directions,
    floats,
    matrix,
    moved,
    normal_of,
    number,
    phase,
    point,
    spacing,
    whole,
)

#: Frame Increment Pointer's vectors (PS3.3 C.8.4.8.1) other than the one that counts slices.
_VECTORS = (
    "EnergyWindowVector",
    "DetectorVector",
    "PhaseVector",
    "RotationVector",
    "RRIntervalVector",
    "TimeSlotVector",
    "AngularViewVector",
    "TimeSliceVector",
)


def vector_frames(dataset: Dataset, count: int) -> tuple[Frame, ...]:
    """The `count` frames of `dataset`, () if it counts its frames in no vector."""
    if "GridFrameOffsetVector" in dataset:
        return _frames(dataset, _dose_positions(dataset, count), _geometry(dataset)[1])
    if "SliceVector" in dataset:
        return _frames(dataset, _slice_positions(dataset, count), _geometry(dataset)[1])
    return ()


def _geometry(dataset: Dataset) -> tuple[Point | None, Directions | None]:
    """Of the first slice; nuclear medicine has it in its (first) detector (PS3.3 C.8.4.11)."""
    for source in (dataset, *(dataset.get("DetectorInformationSequence") or ())):
        if "ImagePositionPatient" in source:
            return point(source.ImagePositionPatient), directions(source.get("ImageOrientationPatient"))
    return None, None


def _frames(dataset: Dataset, positions: list[Point | None], orientation: Directions | None) -> tuple[Frame, ...]:
    start = whole(dataset.get("InstanceNumber")) << 20
    vectors = [list(vector) for name in _VECTORS if (vector := dataset.get(name)) and not isinstance(vector, int)]
    vectors = [vector for vector in vectors if len(vector) == len(positions)]
    rows, columns = matrix(dataset)
    apart = apart_of(dataset)
    return tuple(
        Frame(
            rows=rows,
            columns=columns,
            position=position,
            orientation=orientation,
            spacing=spacing(dataset.get("PixelSpacing")),
            number=start + index,
            phase=phase(dimensions=[vector[index] for vector in vectors], image_type=dataset.get("ImageType"), **apart),
        )
        for index, position in enumerate(positions)
    )


def _slice_positions(dataset: Dataset, count: int) -> list[Point | None]:
    """Slice Vector (0054,0080) counts slices from 1; a positive distance goes along the normal (PS3.3 C.8.4.15)."""
    first, orientation = _geometry(dataset)
    distance = number(dataset.get("SpacingBetweenSlices"))
    slices = dataset.SliceVector
    counted = floats([slices] if isinstance(slices, int) else slices, count)
    if first is None or orientation is None or not distance or counted is None:
        return [None] * count
    normal = normal_of(orientation)
    return [point(moved(first, ((place - 1) * distance, normal))) for place in counted]


def _dose_positions(dataset: Dataset, count: int) -> list[Point | None]:
    """Grid Frame Offset Vector (3004,000C): from the first plane along the normal if its first value is 0, else, in
    transversal planes, z itself (PS3.3 C.8.8.3.2)."""
    first, orientation = _geometry(dataset)
    offsets = floats(dataset.GridFrameOffsetVector, count)
    if first is None or orientation is None or offsets is None:
        return [None] * count
    if offsets[0] == 0:
        return [point(moved(first, (offset, normal_of(orientation)))) for offset in offsets]
    if abs(normal_of(orientation)[2]) < 1 or offsets[0] != first[2]:
        return [None] * count
    return [point((first[0], first[1], offset)) for offset in offsets]
