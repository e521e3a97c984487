"""The frames of one object: where each lies and what tells it from others, as its header says.

Guarantees: one Frame per frame of the pixel data (per tile of a Siemens mosaic), in its order; values that cannot be
meant are None (values.py); nothing is decoded. Only LeftOutError is raised, whatever the header holds.

Rules: a classic object has its geometry at the top; an enhanced one in functional groups (enhanced.py); nuclear
medicine and dose grids in vectors (vectors.py); a mosaic in its private header (mosaic.py). Slice Thickness, Slice
Location and Instance Number say nothing of where a frame lies. What tells a frame from others is kept as texts (PHASE),
none of which is a UID or a date.
"""

import warnings

from pydicom.dataset import Dataset
from pydicom.uid import (
    BreastTomosynthesisImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRColorImageStorage,
    EnhancedMRImageStorage,
    EnhancedPETImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    LegacyConvertedEnhancedPETImageStorage,
    NuclearMedicineImageStorage,
    OphthalmicTomographyImageStorage,
    ParametricMapStorage,
    RTDoseStorage,
    SegmentationStorage,
    XRay3DAngiographicImageStorage,
    XRay3DCraniofacialImageStorage,
)

from client.dicom.geometry.enhanced import enhanced_frames
from client.dicom.geometry.frame import Frame
from client.dicom.geometry.mosaic import is_mosaic, mosaic_frames
from client.dicom.geometry.values import (
    colour,
    directions,
    matrix,
    phase,
    phase_of,
    point,
    reference,
    spacing,
    whole,
)
from client.dicom.geometry.vectors import vector_frames
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning.header import MALFORMED, Header

#: Objects that keep their geometry in sequences or vectors, even with a single frame.
_IN_SEQUENCES = frozenset(
    map(
        str,
        (
            BreastTomosynthesisImageStorage, EnhancedCTImageStorage, EnhancedMRColorImageStorage,
            EnhancedMRImageStorage, EnhancedPETImageStorage, LegacyConvertedEnhancedCTImageStorage,
            LegacyConvertedEnhancedMRImageStorage, LegacyConvertedEnhancedPETImageStorage,
            NuclearMedicineImageStorage, OphthalmicTomographyImageStorage, ParametricMapStorage, RTDoseStorage,
            SegmentationStorage, XRay3DAngiographicImageStorage, XRay3DCraniofacialImageStorage,
        ),
    )
)  # fmt: skip

#: No volume has more; a header that says so is not believed.
MOST_FRAMES = 1 << 16


def needs_dataset(header: Header) -> bool:
    """Whether `classic_frame` is not enough for the object, and `object_frames` must read its whole header."""
    return header.frames > 1 or "MOSAIC" in header.image_type or header.sop_class in _IN_SEQUENCES


def classic_frame(header: Header) -> Frame:
    """The frame of an object that does not need its dataset."""
    return Frame(
        rows=header.rows,
        columns=header.columns,
        position=point(header.position),
        orientation=directions(header.orientation),
        spacing=spacing(header.pixel_spacing, header.imager_spacing, header.nominal_spacing),
        number=header.instance_number or 0,
        phase=phase(
            image_type=header.image_type,
            echo_time=header.echo_time,
            echo_number=header.echo_number,
            b_value=header.b_value,
            temporal=header.temporal_position,
            trigger=header.trigger_time,
            acquisition=header.acquisition_number,
            inversion_time=header.inversion_time,
            flip_angle=header.flip_angle,
            acquisition_time=header.acquisition_time,
            reference_time=header.reference_time,
            frame_of_reference=reference(header.frame_of_reference.decode("latin-1")),
            colour=colour(header.samples, header.photometric),
        ),
    )


def object_frames(dataset: Dataset) -> tuple[Frame, ...]:
    """The frames of any object; its pixels need not have been read.

    Raises LeftOutError: unreadable if a value is not of its kind, too_large for more frames than any volume has.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _frames(dataset)
    except (OSError, *MALFORMED):  # OSError: a sequence that ends before its items do
        raise LeftOutError(Reason.UNREADABLE) from None


def _frames(dataset: Dataset) -> tuple[Frame, ...]:
    count = int(dataset.get("NumberOfFrames") or 1)
    if count > MOST_FRAMES:
        raise LeftOutError(Reason.TOO_LARGE)
    if is_mosaic(dataset):
        return mosaic_frames(dataset)
    if "SharedFunctionalGroupsSequence" in dataset or "PerFrameFunctionalGroupsSequence" in dataset:
        return enhanced_frames(dataset, count)
    if found := vector_frames(dataset, count):
        return found
    return tuple(_plain_frame(dataset, index, count) for index in range(count))


def _plain_frame(dataset: Dataset, index: int, count: int) -> Frame:
    """A frame of an object without functional groups. Of several frames, a cine, none has a place of its own; nor has
    the picture of a mosaic whose tiles are not known, for its position is that of a slice."""
    rows, columns = matrix(dataset)
    alone = count == 1
    placed = alone and "MOSAIC" not in (dataset.get("ImageType") or ())
    number = whole(dataset.get("InstanceNumber"))
    return Frame(
        rows=rows,
        columns=columns,
        position=point(dataset.get("ImagePositionPatient")) if placed else None,
        orientation=directions(dataset.get("ImageOrientationPatient")) if placed else None,
        spacing=spacing(
            dataset.get("PixelSpacing"), dataset.get("ImagerPixelSpacing"), dataset.get("NominalScannedPixelSpacing")
        ),
        number=number if alone else (number << 20) + index,
        phase=phase_of(dataset),
    )
