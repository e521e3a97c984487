"""A shelf in a file without a name: what the coordinator keeps of each site beside the sum (shared/secagg/shelf.py).

Guarantees: the memory held is a few bytes per row, however long the rows; the file is gone with the process, however
that ends. What lies in it is sealed, or digests, or opens nothing but one sum.
"""

import os
import tempfile
from pathlib import Path
from types import TracebackType


class FileShelf:
    """Rows one after the other in a temporary file in `folder` (the system's own, if None); a context manager."""

    def __init__(self, folder: Path | None = None) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  closed in __exit__
        self._rows: dict[int, tuple[int, int]] = {}
        self._end = 0

    def __enter__(self) -> "FileShelf":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def put(self, number: int, data: bytes) -> None:
        """Keep `data` as row `number`."""
        view, at = memoryview(data), self._end
        while view:
            written = os.pwrite(self._file.fileno(), view, at)
            view, at = view[written:], at + written
        self._rows[number] = (self._end, len(data))
        self._end = at

    def get(self, number: int, start: int, size: int) -> bytes:
        """`size` bytes of row `number`, from `start` on."""
        offset, length = self._rows[number]
        return os.pread(self._file.fileno(), max(0, min(size, length - start)), offset + start)
