"""Every file of an archive, once, in an order that does not depend on the file system.

Guarantees: ends, whatever links point where (a folder is entered once, by device and inode); opens nothing;
anything but a regular file is listed as such. Links to files and folders are followed.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from shared.errors import InputError


@dataclass(frozen=True)
class File:
    """A name in the archive: `path` relative to it; `regular` is False for pipes, devices and broken links."""

    path: str
    regular: bool
    size: int = 0
    mtime_ns: int = 0
    inode: int = 0


def walk(archive: Path, ignore: Path | None = None) -> tuple[File, ...]:
    """The files below `archive`, sorted by path, without `ignore` (the label file).

    A folder that may not be read counts as one file that is not regular. Raises InputError without a folder.
    """
    if not archive.is_dir():
        raise InputError(f"archive {archive}", expected="a folder with DICOM files", got="none", do="Check the path.")
    skipped = _identity(ignore.stat()) if ignore and ignore.exists() else None
    entered = {_identity(archive.stat())}
    files: list[File] = []
    folders = [""]
    while folders:
        folder = folders.pop()
        for path, status in _entries(archive, folder):
            if status is None:
                files.append(File(path, regular=False))
            elif stat.S_ISDIR(status.st_mode):
                if _identity(status) not in entered:
                    entered.add(_identity(status))
                    folders.append(path)
            elif _identity(status) != skipped:
                regular = stat.S_ISREG(status.st_mode)
                files.append(File(path, regular, status.st_size, status.st_mtime_ns, status.st_ino))
    return tuple(sorted(files, key=lambda file: os.fsencode(file.path)))


def _entries(archive: Path, folder: str) -> list[tuple[str, os.stat_result | None]]:
    """Path within the archive and status, links followed, of all in `folder`; None where there is no telling."""
    try:
        with os.scandir(archive / folder) as found:
            entries = sorted(found, key=lambda entry: os.fsencode(entry.name), reverse=True)
    except OSError:
        return [(folder, None)]
    prefix = folder + os.sep if folder else ""
    return [(prefix + entry.name, _status(entry)) for entry in entries]


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat()
    except OSError:  # a broken link, a loop of links, a folder without permission
        return None


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
