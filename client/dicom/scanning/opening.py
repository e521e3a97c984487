"""Opening a file that may not be what it was a moment ago.

Guarantees: nothing but a regular file is read, and no pipe that took a file's place hangs the reader.
"""

import os
import stat
from pathlib import Path

from client.dicom.item import Stamp
from client.dicom.reasons import LeftOutError, Reason


def open_regular(path: Path) -> int:
    """A descriptor of the regular file at `path`. Raises LeftOutError (unreadable, special_file)."""
    try:
        # O_NONBLOCK: a pipe that took the file's place must not hang the scan
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):  # ValueError: a name with a zero in it
        raise LeftOutError(Reason.UNREADABLE) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise LeftOutError(Reason.SPECIAL_FILE)
    return descriptor


def stamp_of(status: os.stat_result) -> Stamp:
    """While it stays, it is the same file with the same content."""
    return status.st_size, status.st_mtime_ns, status.st_ino
