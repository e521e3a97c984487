"""The scan: every file of an archive ends as usable, or left out with one reason.

Guarantees: only files that are new or changed are opened; nothing in a file can stop the scan; a scan that was
killed goes on from the last batch. Of files with the same SOP Instance UID the first by path is used, among those
that are whole.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from client.dicom.keys import file_key, orphan_key, patient_key, short_key
from client.dicom.labels.table import Labels
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning.catalog import Catalog, Entry
from client.dicom.scanning.header import Header, read_header
from client.dicom.scanning.rules import fault
from client.dicom.scanning.walk import File, walk
from shared.errors import InputError

#: Files between two commits.
BATCH = 1000

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Found:
    """One file of the archive: where, what the catalog knows of it, and its label or why it is left out."""

    path: Path
    entry: Entry
    reason: Reason | None
    label: str


@dataclass(frozen=True)
class ScanReport:
    """Counts of one scan. `skipped` holds the reasons that occur, in the order of Reason; the `by_` counts are of
    usable images; `labels_unmatched`: identifiers in the label file that match no object of the archive."""

    files: int
    usable: int
    patients: int
    orphans: int
    skipped: Mapping[Reason, int]
    by_modality: Mapping[str, int]
    by_manufacturer: Mapping[str, int]
    by_label: Mapping[str, int]
    labels_unmatched: int
    read: int
    unchanged: int
    removed: int
    seconds: float


def scan(
    archive: Path,
    catalog: Catalog,
    *,
    key: bytes,
    labels: Labels | None = None,
    modalities: tuple[str, ...] | None = None,
    progress: Progress | None = None,
) -> ScanReport:
    """Bring `catalog` up to date with `archive` and count. `key` is the site's; `modalities` those of a study.

    Raises InputError if the folder holds no DICOM file or `labels` match nothing, SiteError for the catalog's disk.
    """
    return examine(archive, catalog, key=key, labels=labels, modalities=modalities, progress=progress)[1]


def examine(
    archive: Path,
    catalog: Catalog,
    *,
    key: bytes,
    labels: Labels | None = None,
    modalities: tuple[str, ...] | None = None,
    progress: Progress | None = None,
) -> tuple[tuple[Found, ...], ScanReport]:
    """As `scan`, and every file with what was decided about it, in the order of paths."""
    start = time.perf_counter()
    files = walk(archive, labels.source if labels else None)
    names = [file_key(key, file.path) for file in files]
    known = catalog.entries()
    gone = known.keys() - set(names)
    catalog.remove(gone)
    read = _refresh(catalog, known, partial(_read, archive, key), dict(zip(names, files, strict=True)), progress)
    if all(known[name].fault in (Reason.NOT_DICOM, Reason.SPECIAL_FILE) for name in names):
        got = f"{len(files)} files, none of them DICOM" if files else "an empty folder"
        do = "Point at the folder that holds the images (konsil-client dicomize makes DICOM from PNG, JPEG or NPZ)."
        raise InputError(f"archive {archive}", expected="a folder with DICOM files", got=got, do=do)
    entries = [known[name] for name in names]
    found = tuple(
        Found(archive / file.path, entry, reason, label)
        for file, entry, (reason, label) in zip(files, entries, _judge(entries, labels, modalities), strict=True)
    )
    changes = read, len(files) - read, len(gone)
    return found, _report(found, labels, changes, time.perf_counter() - start)


def _refresh(
    catalog: Catalog,
    known: dict[bytes, Entry],
    read: Callable[[File, bytes], Entry],
    files: Mapping[bytes, File],
    progress: Progress | None,
) -> int:
    """Read what is new or changed into `known` and the catalog, in batches. Returns how many files that were."""
    stale = [
        (file, name)
        for name, file in files.items()
        if name not in known
        or known[name].stamp != (file.size, file.mtime_ns, file.inode)
        or known[name].fault == Reason.UNREADABLE  # perhaps a moment's trouble of the disk
    ]
    for first in range(0, len(stale), BATCH):
        batch = [read(file, name) for file, name in stale[first : first + BATCH]]
        catalog.put(batch)
        known.update((entry.file, entry) for entry in batch)
        if progress:
            progress(first + len(batch), len(stale))
    return len(stale)


def _read(archive: Path, key: bytes, file: File, name: bytes) -> Entry:
    """The entry of one file, whatever it holds."""
    if not file.regular:
        return Entry(name, file.size, file.mtime_ns, file.inode, Reason.SPECIAL_FILE.value)
    try:
        header = read_header(archive / file.path)
    except LeftOutError as left_out:
        return Entry(name, file.size, file.mtime_ns, file.inode, left_out.reason.value)
    return _entry(file, name, header, key)


def _entry(file: File, name: bytes, header: Header, key: bytes) -> Entry:
    """What the catalog keeps of a header: keyed hashes in place of identities."""
    orphan = not header.patient_id
    reason = fault(header)
    return Entry(
        file=name,
        size=file.size,
        mtime_ns=file.mtime_ns,
        inode=file.inode,
        fault=reason.value if reason else "",
        sop=short_key(key, "sop", header.sop_uid),
        series=short_key(key, "series", header.series_uid),
        study=short_key(key, "study", header.study_uid),
        accession=short_key(key, "accession", header.accession),
        bare_patient=short_key(key, "bare-patient", header.patient_id),
        patient=orphan_key(key, header.study_uid or header.sop_uid)
        if orphan
        else patient_key(key, header.issuer, header.patient_id),
        orphan=orphan,
        modality=header.modality,
        manufacturer=header.manufacturer,
        sex=header.sex,
        age=header.age,
        intent=header.intent,
        series_number=header.series_number,
        transfer_syntax=header.transfer_syntax,
        photometric=header.photometric,
        rows=header.rows,
        columns=header.columns,
        bits_stored=header.bits_stored,
    )


def _judge(
    entries: list[Entry], labels: Labels | None, modalities: tuple[str, ...] | None
) -> Iterator[tuple[Reason | None, str]]:
    """The reason, if any, and the label of each entry, in order."""
    seen: set[bytes] = set()
    for entry in entries:
        if entry.fault:
            yield Reason(entry.fault), ""
        elif entry.sop in seen:
            yield Reason.DUPLICATE, ""
        else:
            seen.add(entry.sop)
            if modalities is not None and entry.modality not in modalities:
                yield Reason.WRONG_MODALITY, ""
                continue
            label = labels.of(entry) if labels else ""
            yield (label, "") if isinstance(label, Reason) else (None, label)


def _report(
    found: tuple[Found, ...], labels: Labels | None, changes: tuple[int, int, int], seconds: float
) -> ScanReport:
    """Count. Raises InputError if no row of the label file matches any whole object."""
    usable = [item for item in found if item.reason is None]
    matched = {labels.match(item.entry) for item in found if item.entry.sop} - {None} if labels else set()
    if labels:
        labels.require_match(len(matched))
    identifiers = sum(len(level) for level in labels.levels.values()) if labels else 0
    reasons = Counter(item.reason for item in found if item.reason)
    read, unchanged, removed = changes
    return ScanReport(
        files=len(found),
        usable=len(usable),
        patients=len({item.entry.patient for item in usable}),
        orphans=sum(item.entry.orphan for item in usable),
        skipped={reason: reasons[reason] for reason in Reason if reasons[reason]},
        by_modality=_count(item.entry.modality for item in usable),
        by_manufacturer=_count(item.entry.manufacturer for item in usable),
        by_label=_count(item.label for item in usable) if labels else {},
        labels_unmatched=identifiers - len(matched),
        read=read,
        unchanged=unchanged,
        removed=removed,
        seconds=seconds,
    )


def _count(values: Iterator[str]) -> Mapping[str, int]:
    return dict(sorted(Counter(values).items()))
