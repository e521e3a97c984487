"""The tensors of an archive's images and what is drawn on them, each decoded once and kept (cache.py).

Guarantees: what could not be decoded is remembered with its reason and not tried again, unless it may have been a
moment's trouble of the disk; images and what is drawn on them share one limit of bytes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client.dicom.cache import Cache, Cached
from client.dicom.item import Item
from client.dicom.items import Candidate
from client.dicom.reasons import Reason
from client.dicom.scanning.catalog import Catalog
from client.dicom.targets.gather import decoded, raster_of, told
from client.dicom.targets.outline import Outline, outlined
from shared.study import Input, Study
from shared.tasks.base import Target

#: stage(done, total)
Stage = Callable[[int, int], None]

#: Perhaps a moment's trouble, or repaired without a trace in the file's size and time: not remembered.
_AGAIN = (Reason.UNREADABLE, Reason.CHANGED, Reason.UNUSABLE_LABEL)


@dataclass(frozen=True)
class Targets:
    """Targets that were decoded: `rows` of a cache and the place of each image's; and why images have none. Without
    `rows` targets need no decoding."""

    target: Target
    failed: dict[bytes, Reason]
    rows: Cached | None = None
    places: Mapping[bytes, int] | None = None

    def of(self, kept: Sequence[Candidate]) -> NDArray[np.generic]:
        """Images.target of `kept`."""
        if self.rows is None or self.places is None:
            return told(self.target, [each.fact for each in kept])
        places = np.array([self.places[each.item.name] for each in kept], np.int64)
        return decoded(self.target, self.rows.pixels, places)


@dataclass(frozen=True)
class Caches:
    """The caches under `root`, for images and for what is drawn on them; `catalog` remembers what failed."""

    root: Path
    catalog: Catalog
    limit_bytes: int | None

    def images(
        self, candidates: Sequence[Candidate], spec: Input, stage: Stage | None
    ) -> tuple[Cached, dict[bytes, Reason]]:
        """The tensors of `candidates`, and why some have none."""
        cache = Cache(self.root, spec, limit_bytes=self.limit_bytes)
        return self._build(cache, [one.item for one in candidates], stage)

    def targets(self, candidates: Sequence[Candidate], study: Study, target: Target, stage: Stage | None) -> Targets:
        """What is drawn on `candidates`, decoded if `target` has a grid."""
        raster = raster_of(target, study)
        if raster is None:
            return Targets(target, {})
        items = {
            one.item.name: outlined(one.item, one.fact, one.files)
            for one in candidates
            if isinstance(one.fact, Outline)
        }
        cache = Cache(self.root, study.input, limit_bytes=self.limit_bytes, decode=raster.decode, form=raster.form)
        cached, failed = self._build(cache, list(items.values()), stage)
        rows = dict(zip(cached.names, cached.rows.tolist(), strict=True))
        places = {name: rows[item.name] for name, item in items.items() if item.name in rows}
        without = {name: failed[item.name] for name, item in items.items() if item.name in failed}
        return Targets(target, without, cached, places)

    def _build(self, cache: Cache, items: Sequence[Item], stage: Stage | None) -> tuple[Cached, dict[bytes, Reason]]:
        failed = self.catalog.failures(cache.form.name)
        cached = cache.build([item for item in items if item.name not in failed], stage)
        lasting = {name: reason for name, reason in cached.failures.items() if reason not in _AGAIN}
        self.catalog.record_failures(cache.form.name, lasting)
        return cached, failed | dict(cached.failures)
