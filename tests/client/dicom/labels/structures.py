"""RT structure sets for the tests, made by hand from PS3.3 C.8.8.5 and C.8.8.6."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import RTStructureSetStorage

from client.dicom.writing import derived_uid

FRAME = derived_uid("frame")


def structure_set(
    regions: Sequence[tuple[str, Sequence[Any]]], kind: str = "CLOSED_PLANAR", series: str = "1.2.3"
) -> Dataset:
    """An RT structure set drawn on `series`, with named regions, each a list of contours [points, 3]."""
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = RTStructureSetStorage, derived_uid("rtstruct")
    made.Modality = "RTSTRUCT"
    frame, study, drawn_on = Dataset(), Dataset(), Dataset()
    drawn_on.SeriesInstanceUID = series
    study.RTReferencedSeriesSequence, frame.RTReferencedStudySequence = [drawn_on], [study]
    made.ReferencedFrameOfReferenceSequence = [frame]
    made.StructureSetROISequence, made.ROIContourSequence = [], []
    for number, (name, drawn) in enumerate(regions, start=1):
        roi, shown = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = number, name, FRAME
        shown.ReferencedROINumber, shown.ContourSequence = number, []
        for points in drawn:
            contour = Dataset()
            contour.ContourGeometricType, contour.NumberOfContourPoints = kind, len(points)
            contour.ContourData = [f"{value:.6g}" for value in np.ravel(points)]
            shown.ContourSequence.append(contour)
        made.StructureSetROISequence.append(roi)
        made.ROIContourSequence.append(shown)
    return made
