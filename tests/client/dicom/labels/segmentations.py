"""Segmentations for the tests, written by highdicom, an independent implementation."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from client.dicom.labels.grid import Grid
from client.dicom.labels.segmentation import Segmentation, segmentation_of
from client.dicom.pixels.objects import open_object
from client.dicom.writing import ENCODERS, derived_uid

Make = Callable[..., Dataset]
Mask = NDArray[np.bool_]
ROWS, COLUMNS = 3, 5  # 15 pixels: frames of bits do not start at bytes
TILTED = np.array([[0.8, 0.0, 0.6], [0.0, 1.0, 0.0], [-0.6, 0.0, 0.8]])


def affine(step: float = 2.0, turn: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Axial, slices `step` mm apart towards the head, rows of 1.5 mm, columns of 0.5 mm, then turned by `turn`."""
    matrix = np.eye(4)
    turn = np.eye(3) if turn is None else turn
    matrix[:3] = np.array([[0, 0, 0.5, -7], [0, 1.5, 0, 11], [step, 0, 0, 30]])
    matrix[:3, :3] = turn @ matrix[:3, :3]
    return matrix


def grid_of(matrix: NDArray[np.float64], slices: int = 4, **values: Any) -> Grid:
    shape = values.pop("shape", (slices, ROWS, COLUMNS))
    return Grid(tuple(matrix.ravel().tolist()), shape, **values)


def ct(make: Make) -> Callable[..., list[Dataset]]:
    """images(matrix, slices): CT slices that lie as `matrix` says."""

    def build(matrix: NDArray[np.float64], slices: int = 4, size: tuple[int, int] = (ROWS, COLUMNS)) -> list[Dataset]:
        spacing = np.linalg.norm(matrix[:3, 1:3], axis=0)
        directions = [*(matrix[:3, 2] / spacing[1]), *(matrix[:3, 1] / spacing[0])]
        made = []
        for number in range(slices):
            image = make(np.zeros(size, np.uint16), SOPClassUID=CTImageStorage, Modality="CT")
            image.SOPInstanceUID = derived_uid("ct", str(number))
            image.FrameOfReferenceUID = derived_uid("frame")
            image.ImagePositionPatient = (matrix[:3, 3] + number * matrix[:3, 0]).tolist()
            image.ImageOrientationPatient, image.PixelSpacing = directions, spacing.tolist()
            image.SliceThickness = 2.0
            image.StudyID = image.StudyDate = image.StudyTime = image.ReferringPhysicianName = None
            image.PatientBirthDate = image.PatientSex = image.PositionReferenceIndicator = None
            made.append(image)
        return made

    return build


def describe(number: int, label: str) -> Any:
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Neoplasm,
        algorithm_type="MANUAL",
    )


def written(
    sources: list[Dataset], pixels: NDArray[Any], kind: str = "BINARY", labels: tuple[str, ...] = ("A",), **values: Any
) -> Dataset:
    """A segmentation of `sources` by highdicom."""
    return hd.seg.Segmentation(
        source_images=sources,
        pixel_array=pixels,
        segmentation_type=kind,
        segment_descriptions=[describe(number, label) for number, label in enumerate(labels, 1)],
        series_instance_uid=derived_uid("seg"),
        series_number=1,
        sop_instance_uid=derived_uid("seg", "1"),
        instance_number=1,
        manufacturer="T",
        manufacturer_model_name="T",
        software_versions="1",
        device_serial_number="1",
        **values,
    )


def compressed(dataset: Dataset, syntax: str) -> Dataset:
    """`dataset` in `syntax`; highdicom itself would take GDCM, which aborts on frames as small as these."""
    copy = dcmread(BytesIO(saved(dataset)))
    if syntax != ExplicitVRLittleEndian:
        copy.compress(UID(syntax), encoding_plugin=ENCODERS[syntax], generate_instance_uid=False)
    return copy


def saved(dataset: Dataset) -> bytes:
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def read(dataset: Dataset) -> Segmentation:
    """Through a file, as bytes arrive."""
    return segmentation_of(open_object(saved(dataset)))


def some_mask() -> Mask:
    """[4 slices, rows, columns]; the second slice is empty."""
    pixels = np.random.default_rng(5).random((4, ROWS, COLUMNS)) < 0.5
    pixels[1] = False
    return pixels
