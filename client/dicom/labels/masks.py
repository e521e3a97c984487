"""The masks of an archive: which file was drawn on which series, and what did not join and why.

Guarantees: the files are read once for their labels and series, and again only when a mask is wanted; series are known
by keyed hash; no path or UID is in a report, an error or a repr.

    masks = read_masks(Path("masks"), key)
    for source in masks.of(entry.series):
        found = mask_on(grid, source.load(), "Tumor")
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from client.dicom.keys import short_key
from client.dicom.labels.contours import Contours, contours_of
from client.dicom.labels.drawing import Drawing, drawing_of
from client.dicom.labels.faults import MaskError, MaskFault
from client.dicom.labels.grid import Grid, Mask
from client.dicom.labels.objects import files_of, read_bytes, read_object, storage_class
from client.dicom.labels.segmentation import Segmentation, segmentation_of
from client.dicom.pixels.objects import open_object
from client.dicom.reasons import LeftOutError

#: Bytes of one segmentation, and of one structure set, which is text.
SEGMENTATION_LIMIT, STRUCTURES_LIMIT = 1 << 30, 1 << 28

#: Segmentation and Label Map Segmentation Storage (PS3.4 B.5)
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"

Masked = Segmentation | Contours | Drawing


@dataclass(frozen=True)
class Source:
    """One file: `number` is its place among all files looked at, from 1, by which a report names it."""

    number: int
    path: Path = field(repr=False)
    labels: tuple[str, ...]
    series: frozenset[bytes] = field(repr=False)

    def load(self) -> Masked:
        """Its masks. Raises MaskError."""
        return load_masks(self.path)


@dataclass(frozen=True)
class MaskReport:
    """`files`: objects that hold masks; `joined`: those drawn on a series of the archive; `unjoined`: fault → numbers
    of the others; `labels`: label → how many joined files have it."""

    files: int
    joined: int
    unjoined: Mapping[MaskFault, tuple[int, ...]]
    labels: Mapping[str, int]

    def sentences(self) -> tuple[str, ...]:
        """What did not join, one sentence each, for a person; empty if all did."""
        return tuple(
            f"{len(numbers)} of {self.files} files with masks: {fault.explain}."
            for fault, numbers in self.unjoined.items()
        )


@dataclass(frozen=True)
class Masks:
    """`sources`: the readable files; `faults`: number of each other file with masks → why it is of no use."""

    sources: tuple[Source, ...]
    faults: Mapping[int, MaskFault]

    def of(self, series: bytes) -> tuple[Source, ...]:
        """Files drawn on the series with this keyed hash (Entry.series)."""
        return tuple(source for source in self.sources if series in source.series)

    def report(self, series: Collection[bytes]) -> MaskReport:
        """How the files and the archive's `series`, keyed hashes, go together."""
        known = frozenset(series)
        joined = [source for source in self.sources if source.series & known]
        alone = {source.number: MaskFault.NO_SERIES for source in self.sources if not source.series & known}
        unjoined: dict[MaskFault, tuple[int, ...]] = {}
        for number, fault in sorted((alone | dict(self.faults)).items()):
            unjoined[fault] = (*unjoined.get(fault, ()), number)
        labels = Counter(label for source in joined for label in source.labels)
        return MaskReport(len(self.sources) + len(self.faults), len(joined), unjoined, dict(sorted(labels.items())))


def read_masks(place: Path, key: bytes) -> Masks:
    """The segmentations and structure sets in `place`, a folder or one file; other files there are passed over."""
    sources, faults = list[Source](), dict[int, MaskFault]()
    for number, path in enumerate(files_of(place), start=1):
        if storage_class(path) not in (*SEGMENTATIONS, STRUCTURE_SET):
            continue
        try:
            found = load_masks(path)
        except MaskError as error:
            faults[number] = error.fault
            continue
        series = frozenset(short_key(key, "series", uid.encode()) for uid in found.series)
        sources.append(Source(number, path, found.labels, series))
    return Masks(tuple(sources), faults)


def load_masks(path: Path) -> Masked:
    """The masks in the file at `path`: a segmentation, a structure set, a mask drawn as an image. Raises MaskError."""
    kind = storage_class(path)
    try:
        if kind in SEGMENTATIONS:
            return segmentation_of(open_object(read_bytes(path, SEGMENTATION_LIMIT)))
        if kind == STRUCTURE_SET:
            return contours_of(read_object(path, STRUCTURES_LIMIT))
    except LeftOutError as left_out:
        raise MaskError(MaskFault.of(left_out.reason)) from None
    return drawing_of(path)


def mask_on(grid: Grid, source: Masked, label: str) -> Mask:
    """bool [slices, rows, columns]: the voxels of `grid` that `source` calls `label`. Raises MaskError."""
    return source.on(grid, label)
