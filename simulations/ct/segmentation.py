"""The liver of a series as a DICOM segmentation (PS3.3 A.51, C.8.20): one segment, a frame of bits for each slice that
shows it."""

from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pack_bits
from pydicom.tag import Tag
from pydicom.uid import SegmentationStorage

from client.dicom.writing import derived_uid
from simulations.ct.objects import AXIAL, item, references
from simulations.ct.scan import Scan

#: By what frames are counted: segment, then position (PS3.3 C.7.6.17).
_DIMENSIONS = (
    ("ReferencedSegmentNumber", "SegmentIdentificationSequence"),
    ("ImagePositionPatient", "PlanePositionSequence"),
)


def segment(dataset: Dataset, found: Scan, slices: Sequence[Dataset], label: str) -> None:
    """Make `dataset`, which says whose it is, the segmentation of the liver on `slices`, those of `found`."""
    dataset.SOPClassUID, dataset.Modality = SegmentationStorage, "SEG"
    dataset.ImageType, dataset.SegmentationType = ["DERIVED", "PRIMARY"], "BINARY"
    dataset.ContentLabel, dataset.ContentDescription, dataset.ContentCreatorName = "LIVER", "", "Simulated^Reader"
    dataset.SegmentSequence = [
        item(
            SegmentNumber=1,
            SegmentLabel=label,
            SegmentAlgorithmType="MANUAL",
            SegmentedPropertyCategoryCodeSequence=[_code("123037004", "Anatomical Structure")],
            SegmentedPropertyTypeCodeSequence=[_code("10200004", "Liver")],
        )
    ]
    series = item(SeriesInstanceUID=slices[0].SeriesInstanceUID, ReferencedInstanceSequence=references(slices))
    dataset.ReferencedSeriesSequence = [series]
    places = np.flatnonzero(found.liver.any(axis=(1, 2))).tolist()
    _set_groups(dataset, [slices[place] for place in places], found.spacing[0])
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = len(places), *found.liver.shape[1:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 1, 1, 0, 0
    dataset.LossyImageCompression = "00"
    dataset.PixelData = pack_bits(found.liver[places].astype(np.uint8).ravel())
    dataset["PixelData"].VR = "OB"


def _set_groups(dataset: Dataset, slices: Sequence[Dataset], step_mm: float) -> None:
    """Where the frames on `slices` lie, and how they are counted (PS3.3 C.7.6.16, C.7.6.17)."""
    uid = derived_uid("konsil/simulated/v1", dataset.SOPInstanceUID, "dimensions")
    dataset.DimensionOrganizationSequence = [item(DimensionOrganizationUID=uid)]
    dataset.DimensionIndexSequence = [
        item(DimensionOrganizationUID=uid, DimensionIndexPointer=Tag(value), FunctionalGroupPointer=Tag(group))
        for value, group in _DIMENSIONS
    ]
    measures = item(
        PixelSpacing=slices[0].PixelSpacing,
        SliceThickness=slices[0].SliceThickness,
        SpacingBetweenSlices=f"{step_mm:g}",
    )
    dataset.SharedFunctionalGroupsSequence = [
        item(
            PixelMeasuresSequence=[measures],
            PlaneOrientationSequence=[item(ImageOrientationPatient=AXIAL)],
            SegmentIdentificationSequence=[item(ReferencedSegmentNumber=1)],
        )
    ]
    dataset.PerFrameFunctionalGroupsSequence = [
        item(
            FrameContentSequence=[item(DimensionIndexValues=[1, number])],
            PlanePositionSequence=[item(ImagePositionPatient=one.ImagePositionPatient)],
            DerivationImageSequence=[_derived(one)],
        )
        for number, one in enumerate(slices, start=1)
    ]


def _derived(one: Dataset) -> Dataset:
    """That a frame was drawn on the slice `one`, pixel by pixel."""
    purpose = item(
        CodeValue="121322", CodingSchemeDesignator="DCM", CodeMeaning="Source image for image processing operation"
    )
    (source,) = references([one])
    source.PurposeOfReferenceCodeSequence, source.SpatialLocationsPreserved = [purpose], "YES"
    way = item(CodeValue="113076", CodingSchemeDesignator="DCM", CodeMeaning="Segmentation")
    return item(SourceImageSequence=[source], DerivationCodeSequence=[way])


def _code(value: str, meaning: str) -> Dataset:
    return item(CodeValue=value, CodingSchemeDesignator="SCT", CodeMeaning=meaning)
