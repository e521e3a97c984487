"""From an archive and a label file to tensors: scan, join, cache, split by patient.

Guarantees: every file is counted once, as used or under one reason; a patient is in one part of the study only, and
stays there when images are added, removed or labelled anew (the part follows from the patient's keyed hash alone);
`home` holds no identity in clear.
"""

import hmac
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from client.dicom.cache import Cache, Cached
from client.dicom.item import Location
from client.dicom.items import Candidate, choose_items
from client.dicom.labels.labels import Labels
from client.dicom.labels.source import read_source
from client.dicom.labels.table import Layout
from client.dicom.reasons import Reason
from client.dicom.scanning.catalog import Catalog
from client.dicom.scanning.entry import Entry, place_of
from client.dicom.scanning.judge import judge, repeated_files
from client.dicom.scanning.refresh import refresh
from client.dicom.scanning.walk import base_of
from client.images import Images, Split
from shared.errors import InputError
from shared.study import Input, spec_hash

#: progress(stage, done, total); the stages are "scan" and "decode".
Progress = Callable[[str, int, int], None]

Stage = Callable[[int, int], None]

#: Before a finding that a table with a column of its own says is not there: a study asks for "no nodule" and "nodule".
ABSENT = "no "
#: Perhaps a moment's trouble: not remembered.
_AGAIN = (Reason.UNREADABLE, Reason.CHANGED)


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
    spec: Input,
    labels: tuple[str, ...],
    test: float,
    validation: float,
    cache_bytes: int | None = None,
    progress: Progress | None = None,
) -> tuple[Images, Counts]:
    """The images of `archive` that a study can use, as tensors `spec`, and what became of all files.

    `source` says the labels (labels/source.py); `key` is the site's secret; `labels` are the study's, in its order;
    `test` and `validation` are shares of patients. The catalog and the cache live under `home`; the cache of all
    studies takes `cache_bytes` at most. Raises InputError (nothing to use, wrong label file), SiteError (disk).
    """
    known = read_source(source, key, Layout(findings=labels, absent=ABSENT))
    cache = Cache(home / "cache", spec, limit_bytes=cache_bytes)
    with Catalog.of(archive, home) as catalog:
        refresh(archive, catalog, key=key, ignore=source, progress=_stage(progress, "scan"))
        candidates, left_out = _choose(catalog, base_of(archive), key, _Asked(spec, known, labels))
        failed = catalog.failures(spec_hash(spec))
        cached = cache.build(
            [each.item for each in candidates if each.item.name not in failed], _stage(progress, "decode")
        )
        lasting = {name: reason for name, reason in cached.failures.items() if reason not in _AGAIN}
        catalog.record_failures(spec_hash(spec), lasting)
    failed |= cached.failures
    kept = [each for each in candidates if each.item.name not in failed]
    counts = _count(candidates, kept, failed, left_out)
    if not kept:
        _refuse(archive, counts)
    return _images(cached, kept, labels, key, (test, validation)), counts


@dataclass(frozen=True)
class _Asked:
    """What the study wants to be made of the files, and what is known of them."""

    spec: Input
    known: Labels
    labels: tuple[str, ...]


def _choose(catalog: Catalog, base: Path, key: bytes, asked: _Asked) -> tuple[list[Candidate], Counter[Reason]]:
    """All tensors to be, in an order of their own, and how many files are in none, by reason."""
    repeated = repeated_files(catalog, key)
    candidates: list[Candidate] = []
    left_out = Counter[Reason]()
    matched = 0

    def locate(entry: Entry) -> Location:
        return place_of(key, entry).location(base)

    for series in catalog.series_entries():
        judged = {entry.file: judge(entry, repeated=repeated, spec=asked.spec) for entry in series}
        left_out.update(reason for reason in judged.values() if isinstance(reason, Reason))
        matched += any(asked.known.match(entry) is not None for entry in series)
        usable = [entry for entry in series if not isinstance(judged[entry.file], Reason)]
        chosen = choose_items(usable, asked.spec, asked.known, asked.labels, locate)
        candidates += chosen.candidates
        left_out.update(chosen.left_out.values())
    asked.known.require_match(matched)
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


def split_of(key: bytes, patient: bytes, test: float, validation: float) -> Split:
    """The part of a patient: uniform in [0, 1) by HMAC-SHA256, below `test` first, then `validation`, then training."""
    drawn = hmac.digest(key, b"konsil/split/v1" + patient, "sha256")
    uniform = int.from_bytes(drawn[:8], "big") / 2**64
    return Split.TEST if uniform < test else Split.VALIDATION if uniform < test + validation else Split.TRAIN


def _images(
    cached: Cached, kept: Sequence[Candidate], labels: tuple[str, ...], key: bytes, shares: tuple[float, float]
) -> Images:
    keys = tuple(sorted({each.patient for each in kept}))
    number = {patient: index for index, patient in enumerate(keys)}
    return Images(
        pixels=cached.pixels,
        target=np.array([labels.index(each.label) for each in kept], dtype=np.int64),
        patient=np.array([number[each.patient] for each in kept], dtype=np.int64),
        keys=keys,
        split=np.array([split_of(key, patient, *shares) for patient in keys], dtype=np.int64),
        place=cached.rows,
    )


def _refuse(archive: Path, counts: Counts) -> None:
    left_out = ", ".join(f"{number} {reason.explain}" for reason, number in counts.skipped.items() if number)
    raise InputError(
        f"archive {archive}",
        expected="at least one image that the study can use",
        got=f"none of {counts.files} files: {left_out}",
        do=max(Reason, key=lambda reason: counts.skipped[reason]).advice,
    )


def _stage(progress: Progress | None, name: str) -> Stage | None:
    return None if progress is None else lambda done, total: progress(name, done, total)
