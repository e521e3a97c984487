"""What `konsil-client scan` says of each series: usable, or not and why; as which volumes; where they lie.

Guarantees: every series of the catalog is one line; its status is "usable" (every use Konsil has for it), "images" (its
images can be used, but make no volume: `reason` says why) or "left_out" (`reason` says why). Affines are 4 × 4, row by
row, and lead from (slice, row, column, 1) to mm towards left, back and head (LPS).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from client.dicom.geometry.frame import unpack_frames
from client.dicom.geometry.stacks import Stack, stacks
from client.dicom.labels.labels import Labels
from client.dicom.reasons import Reason
from client.dicom.scanning.catalog import Catalog
from client.dicom.scanning.entry import Entry, by_patient, place_of
from client.dicom.scanning.judge import repeated_files

#: Modalities that scan through the patient; of others nobody expects a volume.
THROUGH = frozenset(("CT", "MR", "PT", "NM"))
USABLE, IMAGES, LEFT_OUT = "usable", "images", "left_out"
AXES = "slice,row,column"
SPACE = "LPS"


@dataclass(frozen=True)
class Volume:
    """Slices that lie together: `shape` (slices, rows, columns), `spacing` in mm in the same order, `tilt` of the
    gantry in degrees; `reason`: why they make no volume, or empty."""

    shape: tuple[int, int, int]
    affine: tuple[tuple[float, ...], ...] | None
    spacing: tuple[float, float, float] | None
    tilt: float
    reason: str


@dataclass(frozen=True)
class Series:
    """One series. `shape`, `affine` and `spacing` are those of its largest volume; `faults`: files left out, by reason;
    `label`: the finding its files agree on, several joined by "|", or None."""

    series: str
    series_uid: str
    status: str
    reason: str
    modality: str
    manufacturer: str
    shape: tuple[int, int, int] | None
    affine: tuple[tuple[float, ...], ...] | None
    spacing: tuple[float, float, float] | None
    axes: str
    space: str
    label: str | None
    files: int
    usable: int
    frames: int
    faults: Mapping[str, int]
    volumes: tuple[Volume, ...]


def describe_all(catalog: Catalog, key: bytes, labels: Labels | None) -> Iterator[Series]:
    """The lines of all series of `catalog`, in an order that only the site's `key` determines. An object that names no
    series is one of its own; files that are no object are in none."""
    repeated = repeated_files(catalog, key)
    for entries in catalog.series_entries():
        for own in by_patient(entries):
            if own[0].series or own[0].sop:
                yield describe(own, place_of(key, own[0]).series_uid, labels, repeated)


def describe(entries: Sequence[Entry], uid: str, labels: Labels | None, repeated: frozenset[bytes]) -> Series:
    """The line of one series. `repeated`: files (Entry.file) whose object another file holds already."""
    faults = {entry.file: entry.fault for entry in entries if entry.fault}
    faults |= {entry.file: Reason.DUPLICATE.value for entry in entries if entry.file in repeated}
    usable = [entry for entry in entries if entry.file not in faults]
    placed = [entry for entry in entries if entry.frames and entry.file not in repeated]
    shown = usable or placed
    frames = [frame for entry in shown for frame in unpack_frames(entry.frames)]
    found = sorted(stacks(frames), key=_size, reverse=True)
    first = found[0] if found else None
    status, reason = _status(entries[0].modality, found, faults, bool(usable))
    volumes = tuple(map(_volume, found))
    return Series(
        series=entries[0].series.hex(),
        series_uid=uid,
        status=status,
        reason=reason,
        modality=entries[0].modality,
        manufacturer=entries[0].manufacturer,
        shape=first.shape if first else None,
        affine=volumes[0].affine if volumes else None,
        spacing=volumes[0].spacing if volumes else None,
        axes=AXES,
        space=SPACE,
        label=_label(usable, labels),
        files=len(entries),
        usable=len(usable),
        frames=len(frames),
        faults=dict(sorted(Counter(faults.values()).items())),
        volumes=volumes,
    )


@dataclass(frozen=True)
class Scans:
    """Series of modalities that scan through the patient: how many make volumes, and why the others make none."""

    volumes: int
    images: Mapping[Reason, int]

    @property
    def series(self) -> int:
        """All of them with a usable image."""
        return self.volumes + sum(self.images.values())

    def sentence(self) -> str:
        """For a person; empty where nobody expects a volume."""
        why = "; ".join(f"{count}: {reason.explain}" for reason, count in self.images.items())
        return f"volumes in {self.volumes} of {self.series} series{f'; {why}' if why else ''}" if self.series else ""


def scans(lines: Iterable[Series]) -> Scans:
    """Count `lines`."""
    usable = [line for line in lines if line.modality in THROUGH and line.status != LEFT_OUT]
    images = Counter(Reason(line.reason) for line in usable if line.status == IMAGES)
    return Scans(len(usable) - images.total(), dict(images.most_common()))


def _status(modality: str, found: Sequence[Stack], faults: Mapping[bytes, str], usable: bool) -> tuple[str, str]:
    """The most frequent reason speaks for the series."""
    if not usable:
        return LEFT_OUT, Counter(faults.values()).most_common(1)[0][0]
    if modality not in THROUGH or any(stack.reason is None for stack in found):
        return USABLE, ""
    reasons = Counter(stack.reason.value for stack in found if stack.reason for _ in stack.frames)
    return IMAGES, reasons.most_common(1)[0][0] if reasons else Reason.NO_GEOMETRY.value


def _size(stack: Stack) -> tuple[bool, int]:
    """Regular volumes first, the largest first."""
    return stack.reason is None, stack.shape[0] * stack.shape[1] * stack.shape[2]


def _volume(stack: Stack) -> Volume:
    affine = None if stack.affine is None else tuple(tuple(map(float, row)) for row in stack.affine)
    return Volume(stack.shape, affine, stack.spacing, stack.tilt, stack.reason.value if stack.reason else "")


def _label(entries: Sequence[Entry], labels: Labels | None) -> str | None:
    found = Reason.NO_LABEL if labels is None else labels.label_of(entries)
    return None if isinstance(found, Reason) else "|".join(found)
