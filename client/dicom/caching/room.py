"""The room on disk that all rows of a site share, whatever their tensor.

Guarantees: it grows to no more than `limit_bytes`, and never into the last tenth of what the disk has for it, which
is left to the ledger and the logs; what was not wanted for longest goes first, and nothing goes in vain: either what is
asked for then fits, or nothing is evicted. Rows that anybody has mapped, and those of a build that runs, stay. Where
the limit was lowered, or others filled the disk, what may go goes, and nobody who asks for nothing new is refused. Who
changes how much is taken holds the lock of the whole cache.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from client.dicom.caching.directory import Directory, State
from client.dicom.caching.rows import Rows
from shared.errors import SiteError
from shared.files import folder_as_owner, open_as_owner

#: Part of the disk that the cache leaves to others.
SPARE = 0.1


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time in `folder`, which is made if need be; the others wait."""
    folder_as_owner(folder)
    with os.fdopen(open_as_owner(folder / "lock", os.O_RDWR), "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class _Tenant:
    """Rows that nobody has mapped, what they hold, and the `evictable` ones; `new` ones are to be added."""

    rows: Rows
    directory: Directory
    evictable: list[int]
    new: int = 0

    @property
    def least_bytes(self) -> int:
        """What it takes without gaps."""
        return (len(self.directory.rows(State.HELD)) + self.new) * self.rows.row_bytes

    @property
    def evictable_bytes(self) -> int:
        """What it takes less if all goes that may."""
        return len(self.evictable) * self.rows.row_bytes

    @property
    def growth_bytes(self) -> int:
        """What the file grows by as it is."""
        return max(0, self.new - len(self.directory.rows(State.FREE))) * self.rows.row_bytes


@dataclass(frozen=True)
class Room:
    """The room of the cache in `root`; without `limit_bytes`, all that the disk has."""

    root: Path
    limit_bytes: int | None = None

    def check(self, needed: int) -> None:
        """Raises SiteError if a study that needs `needed` bytes can never fit."""
        if self.limit_bytes is not None and needed > self.limit_bytes:
            raise self._too_small(needed, "")

    def make(self, rows: Rows, keep: Set[int], new: int, *, alone: bool) -> None:
        """Evict until `new` more rows fit beside the rows `keep`. `alone`: nobody else has `rows` mapped.

        Raises SiteError if the limit, OSError if the disk leaves no room; nothing is evicted then.
        """
        directory = rows.directory()
        evictable = [row for row in directory.rows(State.HELD).tolist() if row not in keep] if alone else []
        own = _Tenant(rows, directory, evictable, new)
        over = self._taken() + own.growth_bytes - self._most()
        if over <= 0:
            return
        with ExitStack() as stack:
            tenants = [own] * alone + self._unmapped(rows, stack)
            over -= sum(each.rows.file_bytes + each.growth_bytes - each.least_bytes for each in tenants)
            if own.growth_bytes and over > (most := sum(each.evictable_bytes for each in tenants)):
                self._refuse(over - most)
            for tenant, chosen in zip(tenants, _oldest(tenants, over), strict=True):
                tenant.rows.give_up(chosen, alone=True)
                tenant.rows.close_gaps(tenant.rows.directory())

    def _taken(self) -> int:
        return sum(each.path.stat().st_size for each in Rows.all(self.root))

    def _most(self) -> int:
        disk = int((1 - SPARE) * (self._taken() + shutil.disk_usage(self.root).free))
        return disk if self.limit_bytes is None else min(disk, self.limit_bytes)

    def _unmapped(self, own: Rows, stack: ExitStack) -> list[_Tenant]:
        """The other rows that nobody has mapped, locked until `stack` ends."""
        found = []
        for rows in Rows.all(self.root):
            if rows.path != own.path:
                stack.enter_context(rows)
                if stack.enter_context(rows.alone()):
                    directory = rows.directory()
                    found.append(_Tenant(rows, directory, directory.rows(State.HELD).tolist()))
        return found

    def _refuse(self, short: int) -> None:
        """Why there is no room though everything that may go would go: `short` bytes are missing."""
        if self.limit_bytes is None or self._most() < self.limit_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise self._too_small(self.limit_bytes + short, " and studies that run now hold the rest")

    def _too_small(self, needed: int, why: str) -> SiteError:
        return SiteError(
            f"image cache {self.root}",
            expected=f"a limit of at least {needed:,} bytes",
            got=f"{self.limit_bytes:,} bytes{why}",
            do="Raise the site's limit, wait until other studies have ended, or take part with fewer images.",
        )


def _oldest(tenants: list[_Tenant], over: int) -> list[list[int]]:
    """Rows of each tenant, least recently used first, that take `over` bytes together; all, if that is not enough."""
    used = np.concatenate([np.empty(0, np.uint64), *(each.directory.used[each.evictable] for each in tenants)])
    row = np.array([row for each in tenants for row in each.evictable], np.int64)
    owner = np.repeat(np.arange(len(tenants)), [len(each.evictable) for each in tenants])
    order = np.argsort(used, kind="stable")
    size = np.array([each.rows.row_bytes for each in tenants], np.int64)[owner[order]]
    count = int(np.searchsorted(np.cumsum(size), over)) + 1 if over > 0 else 0
    chosen = order[:count]
    return [row[chosen[owner[chosen] == index]].tolist() for index in range(len(tenants))]
