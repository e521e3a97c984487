"""From an archive and what is known of its images to tensors and targets: scan, join, cache, split by patient.

Guarantees: every file is counted once, as used or under one reason; a patient is in one part of the study only
(splits.py); image i and target i are of the same object, on the same grid; `home` holds no identity in clear.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client.dicom.cache import Cached
from client.dicom.decoded import Caches, Stage
from client.dicom.item import Location
from client.dicom.items import Candidate, choose_items
from client.dicom.labels.source import kept_beside
from client.dicom.nothing_usable import nothing_usable
from client.dicom.reasons import Reason
from client.dicom.scanning.catalog import Catalog
from client.dicom.scanning.entry import Entry, place_of
from client.dicom.scanning.judge import judge, repeated_files
from client.dicom.scanning.refresh import refresh
from client.dicom.scanning.walk import base_of
from client.dicom.splits import split_of
from client.dicom.targets.base import Known
from client.dicom.targets.gather import known_of
from client.dicom.targets.groups import groups_of
from client.images import Images
from shared.study import Input, Study
from shared.tasks.base import Target

__all__ = ["Counts", "Progress", "prepare", "split_of"]

#: progress(stage, done, total); the stages are "scan", "decode" and, of masks and boxes, "target".
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Counts:
    """What became of the archive: images, stacks or volumes `usable`, made of so many of the `files`; the other files
    under every Reason (zeros too), in its order."""

    usable: int
    files: int
    skipped: Mapping[Reason, int]


def prepare(
    archive: Path,
    source: Path,
    home: Path,
    *,
    key: bytes,
    study: Study,
    target: Target = "class",
    cache_bytes: int | None = None,
    progress: Progress | None = None,
) -> tuple[Images, Counts]:
    """The images of `archive` that `study` can use, as the tensors it asks for, with the `target` that its kind of task
    wants to know of each; and what became of all files.

    `source` says what is known (targets/gather.py); nothing is read of it for "none". `key` is the site's secret. The
    catalog and the cache live under `home`; the cache of all studies takes `cache_bytes` at most. Raises InputError
    (nothing to use, wrong label file), SiteError (disk).
    """
    known = known_of(target, source, key, study)
    with Catalog.of(archive, home) as catalog:
        refresh(archive, catalog, key=key, ignore=kept_beside(source), progress=_stage(progress, "scan"))
        candidates, left_out = _choose(catalog, base_of(archive), key, study.input, known)
        caches = Caches(home / "cache", catalog, cache_bytes)
        cached, failed = caches.images(candidates, study.input, _stage(progress, "decode"))
        decodable = [each for each in candidates if each.item.name not in failed]
        targets = caches.targets(decodable, study, target, _stage(progress, "target"))
    failed |= targets.failed
    kept = [each for each in candidates if each.item.name not in failed]
    counts = _count(candidates, kept, failed, left_out)
    if not kept:
        raise nothing_usable(archive, counts.files, counts.skipped, study, target)
    rows = dict(zip(cached.names, cached.rows, strict=True))
    place = np.array([rows[each.item.name] for each in kept], dtype=np.int64)
    return _images(cached, place, targets.of(kept), kept, (key, study)), counts


def _choose(
    catalog: Catalog, base: Path, key: bytes, spec: Input, known: Known
) -> tuple[list[Candidate], Counter[Reason]]:
    """All tensors to be, in an order of their own, and how many files are in none, by reason."""
    repeated = repeated_files(catalog, key)
    candidates: list[Candidate] = []
    left_out = Counter[Reason]()
    matched = 0

    def locate(entry: Entry) -> Location:
        return place_of(key, entry).location(base)

    for series in catalog.series_entries():
        judged = {entry.file: judge(entry, repeated=repeated, spec=spec) for entry in series}
        left_out.update(reason for reason in judged.values() if isinstance(reason, Reason))
        matched += any(known.match(entry) is not None for entry in series)
        usable = [entry for entry in series if not isinstance(judged[entry.file], Reason)]
        chosen = choose_items(usable, spec, known, locate)
        candidates += chosen.candidates
        left_out.update(chosen.left_out.values())
    known.require_match(matched)
    return sorted(candidates, key=lambda each: each.item.name), left_out


def _count(
    candidates: Sequence[Candidate],
    kept: Sequence[Candidate],
    failed: Mapping[bytes, Reason],
    left_out: Counter[Reason],
) -> Counts:
    """Files by what became of them: one of an item that failed is left out for that, unless another item uses it."""
    used = {file for each in kept for file in each.files}
    broken: dict[bytes, Reason] = {}
    for each in candidates:
        if each.item.name in failed:
            broken |= {file: failed[each.item.name] for file in each.files if file not in used}
    skipped = left_out + Counter(broken.values())
    return Counts(len(kept), len(used) + skipped.total(), {reason: skipped[reason] for reason in Reason})


def _images(
    cached: Cached,
    place: NDArray[np.int64],
    target: NDArray[np.generic],
    kept: Sequence[Candidate],
    asked: tuple[bytes, Study],
) -> Images:
    key, study = asked
    keys = tuple(sorted({each.patient for each in kept}))
    number = {patient: index for index, patient in enumerate(keys)}
    return Images(
        pixels=cached.pixels,
        target=target,
        patient=np.array([number[each.patient] for each in kept], dtype=np.int64),
        keys=keys,
        split=np.array([split_of(key, patient, study.evaluation) for patient in keys], dtype=np.int64),
        place=place,
        groups=groups_of([each.traits for each in kept], study.evaluation),
    )


def _stage(progress: Progress | None, name: str) -> Stage | None:
    return None if progress is None else lambda done, total: progress(name, done, total)
