"""The masks of an archive: which file was drawn on which series, and what did not join and why.

Guarantees: the files are read once for their labels and series, and again only when a mask is wanted; series are known
by keyed hash; no path or UID is in a report, an error or a repr.

    masks = read_masks(Path("masks"), key)
    for source in masks.of(entry.series):
        found = mask_on(grid, source.load(), "Tumor")
"""

import contextlib
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from client.dicom.item import Location
from client.dicom.keys import short_key
from client.dicom.labels.contours import Contours, contours_of
from client.dicom.labels.drawing import Drawing, drawing_of
from client.dicom.labels.faults import MaskError, MaskFault
from client.dicom.labels.grid import Grid, Mask
from client.dicom.labels.objects import files_of, guarded, read_object, storage_class
from client.dicom.labels.segmentation import Segmentation, segmentation_of
from client.dicom.pixels.objects import open_object
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning import containers

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
    location: Location = field(repr=False)
    labels: tuple[str, ...]
    series: frozenset[bytes] = field(repr=False)

    def load(self) -> Masked:
        """Its masks. Raises MaskError."""
        return load_masks(self.location)


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
        unjoined: dict[MaskFault, list[int]] = {}
        for number, fault in sorted((alone | dict(self.faults)).items()):
            unjoined.setdefault(fault, []).append(number)
        labels = Counter(label for source in joined for label in source.labels)
        return MaskReport(
            files=len(self.sources) + len(self.faults),
            joined=len(joined),
            unjoined={fault: tuple(numbers) for fault, numbers in unjoined.items()},
            labels=dict(sorted(labels.items())),
        )


def read_masks(place: Path, key: bytes) -> Masks:
    """The segmentations and structure sets in `place`, a folder, a zip or one file; other files are passed over.

    Objects that cannot be read are among the faults, as they may hold masks.
    """
    sources, faults = list[Source](), dict[int, MaskFault]()
    for number, location in enumerate(files_of(place), start=1):
        try:
            if storage_class(location) not in (*SEGMENTATIONS, STRUCTURE_SET):
                continue
            found = load_masks(location)
        except LeftOutError as left_out:
            if left_out.reason != Reason.NOT_DICOM:
                faults[number] = MaskFault.of(left_out.reason)
        except MaskError as error:
            faults[number] = error.fault
        else:
            series = frozenset(short_key(key, "series", uid.encode()) for uid in found.series)
            sources.append(Source(number, location, found.labels, series))
    return Masks(tuple(sources), faults)


def load_masks(location: Location) -> Masked:
    """The masks in one file: a segmentation, a structure set, a mask drawn as an image. Raises MaskError."""
    kind = ""
    with contextlib.suppress(LeftOutError):
        kind = storage_class(location)
    try:
        if kind in SEGMENTATIONS:
            with guarded():
                dataset = open_object(containers.read(location, SEGMENTATION_LIMIT))
            return segmentation_of(dataset)
        if kind == STRUCTURE_SET:
            return contours_of(read_object(location, STRUCTURES_LIMIT))
    except LeftOutError as left_out:
        raise MaskError(MaskFault.of(left_out.reason)) from None
    return drawing_of(location)


def mask_on(grid: Grid, source: Masked, label: str) -> Mask:
    """bool [slices, rows, columns]: the voxels of `grid` that `source` calls `label`. Raises MaskError."""
    return source.on(grid, label)
