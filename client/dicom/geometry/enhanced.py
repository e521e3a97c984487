"""The frames of an enhanced multi-frame object, from its functional groups (PS3.3 C.7.6.16).

Guarantees: what a frame's own group says goes before what the shared one says; a frame without a group of its own, or
whose group says nothing of its place, has none. Dimensions that count places do not make phases.
"""

from collections.abc import Iterable
from typing import cast

from msgspec.structs import replace
from pydicom.dataset import Dataset

from client.dicom.geometry.frame import Frame
from client.dicom.geometry.values import apart_of, directions, matrix, phase, point, spacing, whole
from client.dicom.plain import plain

#: Dimension Index Pointers (0020,9165) to what says where a frame lies: In-Stack Position Number, Image Position, Image
#: Orientation, Plane Position, Plane Orientation. Stack ID is a phase of its own.
_PLACE = frozenset({0x00209057, 0x00200032, 0x00200037, 0x00209113, 0x00209116, 0x00209056})

#: Sequences of the macros that hold Frame Type (0008,9007): MR, CT, PET, 3D X-ray, parametric maps.
_FRAME_TYPES = (
    "MRImageFrameTypeSequence",
    "CTImageFrameTypeSequence",
    "PETFrameTypeSequence",
    "XRay3DFrameTypeSequence",
    "ParametricMapFrameTypeSequence",
)


class Groups:
    """The functional groups of one frame: its own over the shared ones."""

    def __init__(self, own: Dataset, shared: Dataset) -> None:
        self._sources = (own, shared)

    def value(self, sequence: str, keyword: str) -> object:
        """Attribute `keyword` of the macro in `sequence`; None if no group has it."""
        for source in self._sources:
            for item in source.get(sequence) or ():
                if (found := item.get(keyword)) is not None:
                    return cast(object, found)
        return None


def enhanced_frames(dataset: Dataset, count: int) -> tuple[Frame, ...]:
    """The `count` frames of `dataset`. `number` orders them within their series: by Instance Number, then by their
    place in the object, or in the concatenation that it is a part of (0020,9228)."""
    start = (whole(dataset.get("InstanceNumber")) << 20) + whole(dataset.get("ConcatenationFrameOffsetNumber"))
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    own = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    dimensions = [
        place
        for place, item in enumerate(dataset.get("DimensionIndexSequence") or ())
        if int(item.get("DimensionIndexPointer") or 0) not in _PLACE
    ]
    frames = [
        _frame(dataset, Groups(own[index], shared), start + index, dimensions) for index in range(min(count, len(own)))
    ]
    if len(frames) < count:  # the rest say nothing of their own: as many as a header likes to claim
        bare = _frame(dataset, Groups(Dataset(), shared), start, dimensions)
        frames += [replace(bare, number=start + index) for index in range(len(frames), count)]
    return tuple(frames)


def _frame(dataset: Dataset, groups: Groups, number: int, dimensions: list[int]) -> Frame:
    rows, columns = matrix(dataset)
    return Frame(
        rows=rows,
        columns=columns,
        position=point(groups.value("PlanePositionSequence", "ImagePositionPatient")),
        orientation=directions(groups.value("PlaneOrientationSequence", "ImageOrientationPatient")),
        spacing=spacing(groups.value("PixelMeasuresSequence", "PixelSpacing"), dataset.get("ImagerPixelSpacing")),
        number=number,
        phase=_phase(dataset, groups, dimensions),
    )


def _phase(dataset: Dataset, groups: Groups, dimensions: list[int]) -> tuple[str, ...]:
    """`dimensions`: places in Dimension Index Values (0020,9157) of the dimensions that make phases."""
    indices = cast(list[int], _listed(groups.value("FrameContentSequence", "DimensionIndexValues")))
    segment = groups.value("SegmentIdentificationSequence", "ReferencedSegmentNumber")
    types = [kind for name in _FRAME_TYPES for kind in _listed(groups.value(name, "FrameType"))]
    component = groups.value("MRImageFrameTypeSequence", "ComplexImageComponent")
    acquisition = groups.value("FrameContentSequence", "FrameAcquisitionNumber")
    return phase(
        stack=[groups.value("FrameContentSequence", "StackID"), *_listed(segment)],
        dimensions=[indices[place] for place in dimensions if place < len(indices)],
        image_type=[*(types or _listed(dataset.get("ImageType"))), component],
        echo_time=groups.value("MREchoSequence", "EffectiveEchoTime"),
        b_value=groups.value("MRDiffusionSequence", "DiffusionBValue"),
        gradient=_gradient(groups),
        temporal=groups.value("FrameContentSequence", "TemporalPositionIndex")
        or groups.value("TemporalPositionSequence", "TemporalPositionTimeOffset"),
        trigger=groups.value("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
        acquisition=acquisition if acquisition is not None else dataset.get("AcquisitionNumber"),
        inversion_time=groups.value("MRModifierSequence", "InversionTimes"),
        flip_angle=groups.value("MRTimingAndRelatedParametersSequence", "FlipAngle"),
        acquisition_time=_time_of_day(groups.value("FrameContentSequence", "FrameAcquisitionDateTime")),
        reference_time=_time_of_day(groups.value("FrameContentSequence", "FrameReferenceDateTime")),
        **apart_of(dataset),
    )


def _time_of_day(moment: object) -> str:
    """Of a date and time, YYYYMMDDHHMMSS.FFFFFF (DT, PS3.5 section 6.2): dates are not kept."""
    return plain(moment)[8:]


def _gradient(groups: Groups) -> object:
    """Diffusion Gradient Orientation (0018,9089), a level deeper than the rest."""
    for item in _listed(groups.value("MRDiffusionSequence", "DiffusionGradientDirectionSequence")):
        return cast(Dataset, item).get("DiffusionGradientOrientation")
    return None


def _listed(value: object) -> list[object]:
    """The values of a multi-valued attribute, which pydicom gives singly where there is one."""
    if value is None:
        return []
    return [value] if isinstance(value, (str, int, float)) else list(cast(Iterable[object], value))
