"""The liver of a series as an RT structure set (PS3.3 A.19, C.8.8.5, C.8.8.6): one region, closed contours on each
slice.

Guarantees: the contours run along the edges of the pixels, so that they enclose the centres of the liver's pixels and
no others; a hole is a contour of its own.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import RTStructureSetStorage

from simulations.ct.drawing import Mask
from simulations.ct.objects import item, references
from simulations.ct.scan import Scan

#: Corners [points, 2] as (row, column), the pixels' centres at whole numbers.
Polygon = NDArray[np.float64]
_Corner = tuple[int, int]

#: As files of this kind say of which class a study is (retired, and still required).
_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"


def contour(dataset: Dataset, found: Scan, slices: Sequence[Dataset], label: str) -> None:
    """Make `dataset`, which says whose it is, the structure set of the liver on `slices`, those of `found`."""
    dataset.SOPClassUID, dataset.Modality = RTStructureSetStorage, "RTSTRUCT"
    dataset.StructureSetLabel, dataset.StructureSetDate, dataset.StructureSetTime = "LIVER", dataset.StudyDate, ""
    series = item(SeriesInstanceUID=slices[0].SeriesInstanceUID, ContourImageSequence=references(slices))
    study = item(
        ReferencedSOPClassUID=_STUDY_CLASS,
        ReferencedSOPInstanceUID=dataset.StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )
    frame = slices[0].FrameOfReferenceUID
    dataset.ReferencedFrameOfReferenceSequence = [item(FrameOfReferenceUID=frame, RTReferencedStudySequence=[study])]
    dataset.StructureSetROISequence = [
        item(ROINumber=1, ReferencedFrameOfReferenceUID=frame, ROIName=label, ROIGenerationAlgorithm="MANUAL")
    ]
    contours = [
        _contour(polygon, found, one)
        for mask, one in zip(found.liver, slices, strict=True)
        for polygon in outlines(mask)
    ]
    dataset.ROIContourSequence = [item(ReferencedROINumber=1, ContourSequence=contours)]
    observation = item(ObservationNumber=1, ReferencedROINumber=1, RTROIInterpretedType="ORGAN", ROIInterpreter="")
    dataset.RTROIObservationsSequence = [observation]


def _contour(polygon: Polygon, found: Scan, one: Dataset) -> Dataset:
    """`polygon` on the slice `one`, in the patient's mm."""
    x, y, z = (float(mm) for mm in one.ImagePositionPatient)
    places = [(x + column * found.spacing[2], y + row * found.spacing[1], z) for row, column in polygon]
    return item(
        ContourImageSequence=references([one]),
        ContourGeometricType="CLOSED_PLANAR",
        NumberOfContourPoints=len(places),
        ContourData=[f"{mm:.3f}" for place in places for mm in place],
    )


def outlines(mask: Mask) -> Iterator[Polygon]:
    """Closed polygons along the edges of the pixels of `mask` [rows, columns], which the even-odd rule fills again."""
    ways = _edges(mask)
    while ways:
        start = next(iter(ways))
        corners = [start]
        while (corner := _next(ways, corners[-1])) != start:
            corners.append(corner)
        yield _turns(np.array(corners, np.float64)) - 0.5


def _edges(mask: Mask) -> dict[_Corner, list[_Corner]]:
    """From each corner the corners that the rim leads to, the mask on its right."""
    padded = np.pad(mask, 1)
    ways: dict[_Corner, list[_Corner]] = {}
    for (down, right), (start, end) in {
        (-1, 0): ((0, 0), (0, 1)),
        (0, 1): ((0, 1), (1, 1)),
        (1, 0): ((1, 1), (1, 0)),
        (0, -1): ((1, 0), (0, 0)),
    }.items():
        rim = mask & ~np.roll(padded, (-down, -right), (0, 1))[1:-1, 1:-1]
        for row, column in np.argwhere(rim).tolist():
            ways.setdefault((row + start[0], column + start[1]), []).append((row + end[0], column + end[1]))
    return ways


def _next(ways: dict[_Corner, list[_Corner]], corner: _Corner) -> _Corner:
    """Where the rim leads to from `corner`; that way is taken out."""
    found = ways[corner].pop()
    if not ways[corner]:
        del ways[corner]
    return found


def _turns(corners: Polygon) -> Polygon:
    """`corners` without those on a straight line."""
    before, after = np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0)
    turn: Polygon = corners[((corners - before) != (after - corners)).any(axis=1)]
    return turn
