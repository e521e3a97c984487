"""What segmentations and structure sets say of their parts: names of segments, series they were drawn on. Pure."""

from collections.abc import Iterator, Mapping

from pydicom.dataset import Dataset

from client.dicom.labels.content import code
from client.dicom.plain import plain


def segment_names(dataset: Dataset) -> Mapping[str, frozenset[int]]:
    """Label → segment numbers: Segment Label (0062,0005), or the meaning of the property type's code (0062,000F)."""
    found: dict[str, set[int]] = {}
    for segment in dataset.get("SegmentSequence") or ():
        kinds = segment.get("SegmentedPropertyTypeCodeSequence") or [Dataset()]
        kind = code(kinds[0])
        label = plain(segment.get("SegmentLabel")).strip() or (kind.meaning if kind else "")
        # 0 is the background of a label map (PS3.3 C.8.20.2.3.3)
        if label and int(segment.SegmentNumber) > 0:
            found.setdefault(label, set()).add(int(segment.SegmentNumber))
    return {label: frozenset(numbers) for label, numbers in found.items()}


def series_of(dataset: Dataset) -> tuple[str, ...]:
    """UIDs of the series that a segmentation (0008,1115) or structure set (3006,0014) was drawn on."""
    return tuple(dict.fromkeys(uid for uid in map(plain, _series(dataset)) if uid))


def _series(dataset: Dataset) -> Iterator[object]:
    for series in dataset.get("ReferencedSeriesSequence") or ():
        yield series.get("SeriesInstanceUID") or ""
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            for series in study.get("RTReferencedSeriesSequence") or ():
                yield series.get("SeriesInstanceUID") or ""
