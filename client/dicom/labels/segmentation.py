"""Masks from DICOM segmentations (PS3.3 A.51 and C.8.20): binary, fractional (at least one half), label maps.

Guarantees: a frame goes where its position and orientation say, whatever its place in the file; a frame that is not
there is empty; segments of one label are one mask; another grid than the images' is met by the nearest pixel in mm.
Frames are decoded in this process: of files nobody vouches for, in a worker's (decoding.py).

    segmentation_of(dataset).on(grid, "Tumor")        # bool [slices, rows, columns]
    segmentation_of(dataset).on_image("Tumor", uid)   # bool [rows, columns], on the pixels it was drawn on
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from pydicom.dataset import Dataset

from client.dicom.geometry.enhanced import Groups
from client.dicom.geometry.frame import Frame
from client.dicom.geometry.frames import object_frames
from client.dicom.geometry.values import number
from client.dicom.labels.faults import MaskError, MaskFault
from client.dicom.labels.grid import Grid, Mask, planes_of
from client.dicom.labels.objects import guarded
from client.dicom.labels.segments import segment_names, series_of
from client.dicom.pixels.stored import stored_frame
from client.dicom.plain import plain
from client.dicom.reasons import LeftOutError

#: Pixels of one segment that are held at once: a byte each.
PIXELS_LIMIT = 1 << 30

#: SOP Instance UID and frame, from 1, of an image that a frame was drawn on; 0 where it names no frame.
Drawn = tuple[str, int]


@dataclass(frozen=True, eq=False)
class Segmentation:
    """`segments`: label → segment numbers; `numbers`: of each frame, 0 in a label map, whose pixels are numbers;
    `full`: the pixel value of certainty, 1 if not fractional; `series`: UIDs of those it was drawn on; `drawn`: of
    each frame, the images it was drawn on."""

    dataset: Dataset = field(repr=False)
    segments: Mapping[str, frozenset[int]]
    numbers: tuple[int, ...]
    full: int
    frames: tuple[Frame, ...] = field(repr=False)
    step_mm: float | None
    frame_of_reference: str = field(repr=False)
    series: tuple[str, ...] = field(repr=False)
    drawn: tuple[frozenset[Drawn], ...] = field(repr=False)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of its segments, sorted."""
        return tuple(sorted(self.segments))

    def on(self, grid: Grid, label: str) -> Mask:
        """bool [slices, rows, columns]: where the segments called `label` are. Raises MaskError."""
        grid.require_frame(self.frame_of_reference)
        ours = self._frames(label)
        planes, place = planes_of(self.frames, self.step_mm, grid)
        used = sorted({place[index] for index in ours})
        rows, columns = planes.size
        if len(used) * rows * columns > PIXELS_LIMIT:
            raise MaskError(MaskFault.TOO_LARGE)
        slot = np.full(len(planes.corners), -1)
        slot[used] = np.arange(len(used))
        stack = np.zeros((len(used), rows, columns), np.bool_)
        for index in ours:
            stack[slot[place[index]]] |= self._pixels(index, label)
        mask = np.zeros(grid.shape, np.bool_)
        for slice_number in range(grid.shape[0] if used else 0):
            plane, row, column, inside = planes.lookup(grid, slice_number)
            inside = inside & (slot[plane] >= 0)
            if inside.any():
                mask[slice_number] = stack[slot[plane], row, column] & inside
        return mask

    def on_image(self, label: str, sop_uid: str, frame: int = 1, size: tuple[int, int] | None = None) -> Mask:
        """bool [rows, columns] of the image `sop_uid`, its frame `frame` (from 1): where `label` is.

        Raises MaskError: no_image if no frame was drawn on it, wrong_size if it is not as large as `size`.
        """
        if size and any((each.rows, each.columns) != size for each in self.frames):
            raise MaskError(MaskFault.WRONG_SIZE)
        wanted = {(sop_uid, 0), (sop_uid, frame)}
        if not any(drawn & wanted for drawn in self.drawn):
            raise MaskError(MaskFault.NO_IMAGE)
        mask = np.zeros((self.frames[0].rows, self.frames[0].columns), np.bool_)
        for index in self._frames(label):
            if self.drawn[index] & wanted:
                mask |= self._pixels(index, label)
        return mask

    def _frames(self, label: str) -> list[int]:
        """Frames that may show `label`: all, of a label map."""
        if label not in self.segments:
            raise MaskError(MaskFault.NO_LABEL)
        return [index for index, number in enumerate(self.numbers) if not number or number in self.segments[label]]

    def _pixels(self, index: int, label: str) -> Mask:
        """Where frame `index` shows `label`."""
        try:
            values = stored_frame(self.dataset, index).values
        except LeftOutError as left_out:
            raise MaskError(MaskFault.of(left_out.reason)) from None
        if values.shape != (self.frames[index].rows, self.frames[index].columns):
            raise MaskError(MaskFault.UNREADABLE)
        if not self.numbers[index]:
            return np.isin(values, list(self.segments[label]))
        shown: Mask = values.astype(np.int64) * 2 >= self.full
        return shown


def segmentation_of(dataset: Dataset) -> Segmentation:
    """The segmentation in `dataset`. Raises MaskError (unreadable, unsupported, too_large)."""
    try:
        with guarded():
            return _segmentation_of(dataset)
    except LeftOutError as left_out:
        raise MaskError(MaskFault.of(left_out.reason)) from None


def _segmentation_of(dataset: Dataset) -> Segmentation:
    kind = plain(dataset.get("SegmentationType"))
    if kind not in ("BINARY", "FRACTIONAL", "LABELMAP") or dataset.get("DimensionOrganizationType") == "TILED_FULL":
        raise MaskError(MaskFault.UNSUPPORTED)
    frames = object_frames(dataset)
    groups = _groups(dataset, len(frames))
    numbers = [_segment(group) for group in groups] if kind != "LABELMAP" else [0] * len(frames)
    if kind != "LABELMAP" and 0 in numbers:
        raise MaskError(MaskFault.UNREADABLE)
    measures = ("SpacingBetweenSlices", "SliceThickness")  # (0018,0088) if given, else (0018,0050): PS3.3 C.7.6.16.2.1
    steps = [number(groups[0].value("PixelMeasuresSequence", keyword)) for keyword in measures]
    return Segmentation(
        dataset=dataset,
        segments=segment_names(dataset),
        numbers=tuple(numbers),
        full=int(dataset.MaximumFractionalValue) if kind == "FRACTIONAL" else 1,
        frames=frames,
        step_mm=next((step for step in steps if step and step > 0), None),
        frame_of_reference=plain(dataset.get("FrameOfReferenceUID")),
        series=series_of(dataset),
        drawn=tuple(frozenset(_drawn(group)) for group in groups),
    )


def _groups(dataset: Dataset, count: int) -> Sequence[Groups]:
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    own = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    return [Groups(own[index] if index < len(own) else Dataset(), shared) for index in range(count)]


def _segment(group: Groups) -> int:
    """Referenced Segment Number (0062,000B), 0 if there is none."""
    return int(number(group.value("SegmentIdentificationSequence", "ReferencedSegmentNumber")) or 0)


def _drawn(group: Groups) -> Iterator[Drawn]:
    """Images that a frame was drawn on, pixel by pixel (PS3.3 C.7.6.16.2.6)."""
    sources = group.value("DerivationImageSequence", "SourceImageSequence")
    for source in sources if isinstance(sources, Sequence) else ():
        if source.get("SpatialLocationsPreserved", "YES") != "YES":
            continue
        named = source.get("ReferencedFrameNumber") or 0
        for frame in [named] if isinstance(named, int) else named:
            yield plain(source.get("ReferencedSOPInstanceUID")), int(frame)
