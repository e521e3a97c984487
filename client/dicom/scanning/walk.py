"""Every file of an archive, once, a page at a time, in an order that does not depend on the file system.

Guarantees: ends, whatever links point where (a folder is entered once, by device and inode); opens nothing; anything
but a regular file is listed as such, and so is a folder that cannot be listed (permission, a path too long). Links to
files and folders are followed. Never more than the names of one folder are held at once, however large the archive.

A page is what is compared as a whole when the archive is looked at again: the files of one folder; a part of them,
always the same, where the folder is huge; or one zip.
"""

import os
import stat
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from client.dicom.item import Location, Stamp
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning import containers
from shared.errors import InputError

#: Files above which a folder is more than one page, and pages of such a folder.
FOLDER_LIMIT = 4096
PARTS = 256

_SPECIAL = Reason.SPECIAL_FILE.value


class File(NamedTuple):
    """A name in the archive: `path` relative to its base, `member` within the zip there. `fault`: "", or the Reason
    why it is not opened: a pipe, a device, a broken link, a member that is not safe."""

    path: str
    size: int = 0
    mtime_ns: int = 0
    inode: int = 0
    fault: str = ""
    member: str = ""

    @property
    def stamp(self) -> Stamp:
        """Size, time of change, inode: while they stay, the file is not read again."""
        return self.size, self.mtime_ns, self.inode

    def location(self, base: Path) -> Location:
        """Where it lies."""
        return Location(base / self.path, self.member)


@dataclass(frozen=True)
class Page:
    """`name` is the page's own within the archive. `container`: the one file is a zip, to be `listed` if it is new."""

    name: str
    files: tuple[File, ...]
    container: bool = False


def base_of(archive: Path) -> Path:
    """The folder that paths are relative to: `archive`, or the folder a zip or a DICOMDIR lies in."""
    return archive.parent if archive.is_file() else archive


def pages(archive: Path, ignore: Iterable[Path] = ()) -> Iterator[Page]:
    """The pages of `archive`, a folder, a zip or a DICOMDIR (then its folder), without the files `ignore` (the label
    file and what it names).

    Raises InputError for anything else.
    """
    if archive.is_file() and containers.is_container(archive.name):
        status = archive.stat()
        yield Page(archive.name, (_file(archive.name, status),), container=True)
        return
    if not archive.is_dir() and not (archive.is_file() and archive.name.upper() == "DICOMDIR"):
        got = "another file" if archive.is_file() else "a path that does not exist"
        expected = "a folder, a .zip or a DICOMDIR"
        raise InputError(f"archive {archive}", expected=expected, got=got, do="Check the path.")
    yield from _folders(base_of(archive), ignore)


def listed(page: Page, base: Path) -> Page:
    """The members of the zip that is `page`; the zip itself, with the reason, where it cannot be looked into."""
    (file,) = page.files
    try:
        found = containers.members(base / file.path)
    except LeftOutError as left_out:
        return Page(page.name, (file._replace(fault=left_out.reason.value),), container=True)
    files = (File(file.path, each.size, file.mtime_ns, file.inode, each.fault, each.name) for each in found)
    return Page(page.name, tuple(files), container=True)


def count(archive: Path) -> int:
    """About how many files there are, for a progress bar: links are not followed, zips count as one."""
    base = base_of(archive)
    if archive.is_file() and containers.is_container(archive.name):
        return 1
    total, folders = 0, [os.fspath(base)]
    while folders:
        try:
            with os.scandir(folders.pop()) as found:
                for entry in found:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        total += 1
        except OSError:  # counted as a file by `pages`
            total += 1
    return total


def _folders(base: Path, ignore: Iterable[Path]) -> Iterator[Page]:
    skipped = {_identity(path.stat()) for path in ignore if path.exists()}
    entered = {_identity(base.stat())}
    folders = [""]
    while folders:
        folder = folders.pop()
        prefix = folder + os.sep if folder else ""
        try:
            names = sorted(os.listdir(base / folder))  # noqa: PTH208  names, not a million Paths
        except OSError:
            yield Page(folder, (File(folder, fault=_SPECIAL),))
            continue
        below = list[str]()
        for name, part in _parts(folder, names):
            files = list[File]()
            for path, status in _statuses(os.fspath(base) + os.sep, prefix, part):
                if status is None:
                    files.append(File(path, fault=_SPECIAL))
                elif stat.S_ISDIR(status.st_mode):
                    if _identity(status) not in entered:
                        entered.add(_identity(status))
                        below.append(path)
                elif _identity(status) in skipped:
                    continue
                elif stat.S_ISREG(status.st_mode) and containers.is_container(path):
                    yield Page(path, (_file(path, status),), container=True)
                else:
                    files.append(_file(path, status))
            if files:
                yield Page(name, tuple(files))
        folders += sorted(below, reverse=True)


def _parts(folder: str, names: list[str]) -> Iterator[tuple[str, list[str]]]:
    """The pages of a folder: name and names. The part of a huge folder that a file is in follows from its name."""
    if len(names) <= FOLDER_LIMIT:
        yield folder, names
        return
    parts: list[list[str]] = [[] for _ in range(PARTS)]
    for name in names:
        parts[zlib.crc32(os.fsencode(name)) % PARTS].append(name)
    for number, part in enumerate(parts):
        yield f"{folder}\0{number}", part  # no path has a zero in it


def _statuses(root: str, prefix: str, names: list[str]) -> Iterator[tuple[str, os.stat_result | None]]:
    """Path within the archive and status, links followed; None for a broken link or a loop of links."""
    for name in names:
        path = prefix + name
        try:
            yield path, os.stat(root + path)  # noqa: PTH116  a Path each would cost more than all the rest
        except OSError:
            yield path, None


def _file(path: str, status: os.stat_result) -> File:
    fault = "" if stat.S_ISREG(status.st_mode) else _SPECIAL
    return File(path, status.st_size, status.st_mtime_ns, status.st_ino, fault)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
