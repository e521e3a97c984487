"""Files that are whole or not there, whatever is killed when."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from shared.errors import SiteError


def write_atomically(path: Path, data: bytes, *, mode: int = 0o644) -> None:
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
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)
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


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
