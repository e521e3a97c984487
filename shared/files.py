"""Files that are whole or not there, whatever is killed when; and that belong to whom they must.

Started by root in a folder of somebody else's, the `as_owner` ways give what they make to that folder's owner: the
daemon there must be able to use it. Only what root itself made is given away, and never through a link.
"""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from shared.errors import InputError, SiteError


def write_atomically(path: Path, data: bytes, *, mode: int = 0o644, as_owner: bool = False) -> None:
    """`data` at `path`, on disk before this returns; a reader sees the old file or the new one, never a part.

    Raises SiteError if it cannot be written (full disk, no permission); the old file is then untouched.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(handle, mode)
            if as_owner:
                _give(handle, path.parent)
            os.fsync(handle)
        Path(temporary).replace(path)
        sync_folder(path.parent)
    except OSError as error:
        if temporary is not None:
            with suppress(FileNotFoundError):
                Path(temporary).unlink()
        raise SiteError(
            f"writing {path}",
            expected=f"{len(data)} bytes on disk",
            got=error.strerror or "an I/O error",
            do="Free space or correct the permissions, then start again.",
        ) from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write beside `path`, which takes its place, on disk, when the block ends without an error.

    Raises SiteError as `write_atomically` does; the old file is then untouched.
    """
    draft = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        draft = Path(name)
        yield draft
        with draft.open("rb") as file:  # whatever wrote it: what is on disk is this file's content
            os.fsync(file.fileno())
        draft.chmod(0o644)
        draft.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise SiteError(
            f"writing {path}",
            expected="free space and permission",
            got=error.strerror or str(error) or "an I/O error",
            do="Free space or correct the permissions, then start again.",
        ) from None
    finally:
        if draft is not None:
            draft.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def private_folder(path: Path, mode: int = 0o700) -> Path:
    """The folder at `path`, made if need be, with `mode`. Raises InputError where that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=mode)
        path.chmod(mode)
    except OSError as error:
        raise InputError(
            str(path), expected="a folder we may write", got=error.strerror or "an I/O error", do="Choose another."
        ) from None
    return path


def folder_as_owner(path: Path) -> None:
    """The folder at `path`, its owner's alone where it has to be made. Raises OSError, for a link too."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _give(handle, path.parent)
    finally:
        os.close(handle)


def open_as_owner(path: Path, flags: int) -> int:
    """A handle of the file at `path`, made with mode 0600 if need be. Raises OSError, for a link too."""
    handle = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        _give(handle, path.parent)
    except OSError:
        os.close(handle)
        raise
    return handle


def _give(handle: int, folder: Path) -> None:
    """To the owner of `folder`, if we are root; not what has a second name, which may be somebody's trap."""
    if os.geteuid() != 0:
        return
    status, owner = os.fstat(handle), folder.stat()
    alone = stat.S_ISDIR(status.st_mode) or (stat.S_ISREG(status.st_mode) and status.st_nlink == 1)
    if status.st_uid == 0 != owner.st_uid and alone:
        os.fchown(handle, owner.st_uid, owner.st_gid)
