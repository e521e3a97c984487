"""From an archive and a label file to tensors: scan, join, cache, split by patient.

Guarantees: every file is counted once, as used or under one reason; a patient is in one part of the study only, and
stays there when images are added, removed or labelled anew (the part follows from the patient's keyed hash alone);
`home` holds no identity in clear.
"""

import hmac
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client.dicom.cache import Cache, Source
from client.dicom.labels.table import read_labels
from client.dicom.reasons import Reason
from client.dicom.scanning.catalog import Catalog, Entry
from client.dicom.scanning.scan import Found, examine
from client.images import Images, Split
from shared.errors import InputError
from shared.study import Input, spec_hash
from shared.wire import digest

#: progress(stage, done, total); the stages are "scan" and "decode".
Progress = Callable[[str, int, int], None]

Stage = Callable[[int, int], None]


@dataclass(frozen=True)
class Counts:
    """What became of the files: images used, and files left out under every Reason (zeros too), in its order."""

    usable: int
    skipped: Mapping[Reason, int]

    @property
    def files(self) -> int:
        """All files of the archive."""
        return self.usable + sum(self.skipped.values())


def prepare(
    archive: Path,
    labels_csv: Path,
    home: Path,
    *,
    key: bytes,
    spec: Input,
    labels: tuple[str, str],
    test: float,
    validation: float,
    progress: Progress | None = None,
) -> tuple[Images, Counts]:
    """The images of `archive` that a study can use, as tensors `spec`, and what became of all files.

    `key` is the site's secret; `labels` are the study's, in its order; `test` and `validation` are shares of patients.
    The catalog and the cache live under `home`. Raises InputError (nothing to use, wrong label file), SiteError (disk).
    """
    known = read_labels(labels_csv, key)
    with Catalog.of(archive, home) as catalog:
        found, _ = examine(
            archive, catalog, key=key, labels=known, modalities=spec.modalities, progress=_stage(progress, "scan")
        )
        decided = _decide(found, labels, catalog.failures(spec_hash(spec)))
        usable = sorted((item for item, reason in decided if reason is None), key=lambda item: item.entry.sop)
        sources = [Source(_object(item.entry), item.path, item.entry.stamp) for item in usable]
        cache = Cache(catalog.path.parent / "cache" / spec_hash(spec).hex()[:16], spec)
        cached = cache.build(sources, _stage(progress, "decode"))
        failures = {
            item.entry.file: cached.failures[source.object]
            for item, source in zip(usable, sources, strict=True)
            if source.object in cached.failures
        }
        catalog.record_failures(spec_hash(spec), failures)
    kept = [item for item in usable if item.entry.file not in failures]
    skipped = Counter([*(reason for _, reason in decided if reason), *failures.values()])
    counts = Counts(len(kept), {reason: skipped[reason] for reason in Reason})
    if not kept:
        _refuse(archive, counts)
    return _images(cached.pixels, kept, labels, key, (test, validation)), counts


def _decide(
    found: tuple[Found, ...], labels: tuple[str, str], failures: Mapping[bytes, Reason]
) -> list[tuple[Found, Reason | None]]:
    """Each file with its final reason: the scan's, or a label the study does not ask for, or pixels that failed."""
    decided = []
    for item in found:
        reason = item.reason
        if reason is None and item.label not in labels:
            reason = Reason.LABEL_NOT_IN_STUDY
        decided.append((item, reason or failures.get(item.entry.file)))
    return decided


def split_of(key: bytes, patient: bytes, test: float, validation: float) -> Split:
    """The part of a patient: uniform in [0, 1) by HMAC-SHA256, below `test` first, then `validation`, then training."""
    drawn = hmac.digest(key, b"konsil/split/v1" + patient, "sha256")
    uniform = int.from_bytes(drawn[:8], "big") / 2**64
    return Split.TEST if uniform < test else Split.VALIDATION if uniform < test + validation else Split.TRAIN


def _images(
    pixels: NDArray[np.float32],
    kept: list[Found],
    labels: tuple[str, str],
    key: bytes,
    shares: tuple[float, float],
) -> Images:
    keys = tuple(sorted({item.entry.patient for item in kept}))
    number = {patient: index for index, patient in enumerate(keys)}
    return Images(
        pixels=pixels,
        label=np.array([labels.index(item.label) for item in kept], dtype=np.int64),
        patient=np.array([number[item.entry.patient] for item in kept], dtype=np.int64),
        keys=keys,
        split=np.array([split_of(key, patient, *shares) for patient in keys], dtype=np.int64),
    )


def _object(entry: Entry) -> bytes:
    """Names the content of a file wherever it lies: identity, size and time of change."""
    stamp = f"{entry.size} {entry.mtime_ns}".encode()
    return digest("konsil/cached-object/v1", entry.sop, stamp)[:16]


def _refuse(archive: Path, counts: Counts) -> None:
    left_out = ", ".join(f"{number} {reason.explain}" for reason, number in counts.skipped.items() if number)
    raise InputError(
        f"archive {archive}",
        expected="at least one image that the study can use",
        got=f"none of {counts.files} files: {left_out}",
        do="Check the study's modalities and labels against this archive.",
    )


def _stage(progress: Progress | None, name: str) -> Stage | None:
    return None if progress is None else lambda done, total: progress(name, done, total)
