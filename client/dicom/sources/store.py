"""Received objects, safely on disk: every way into the archive folder ends here.

Guarantees of `keep`: when it returns, the object is whole on disk under its final name, file and folder synced, and
survives kill -9 and a power cut; when it raises, nothing of it stays. The bytes are those received; nothing is decoded.
No name on disk comes from outside: folder and file are keyed hashes of the series' and the object's UID.

1. A draft begins with zeros where DICOM has its preamble and mark (PS3.10 7.1), until all its bytes are there: left
   behind by a kill, no scan takes it for an object. Drafts of earlier runs are removed.
2. The same object again is the same file. Another content under the same SOP Instance UID is kept beside it, never over
   it.
3. Refused: an object above `largest` bytes, any while less than `floor` bytes of the disk are free, one whose header
   cannot be read or whose pixels are cut off, one with UIDs that are none or not those it was announced with.

    received/3f/3f0c…/8b1e….dcm
"""

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from client.dicom.keys import short_key
from client.dicom.reasons import LeftOutError
from client.dicom.scanning.header import Header, read_header
from shared.errors import SiteError
from shared.files import private_folder, sync_folder

#: Preamble and mark of a DICOM file (PS3.10 7.1).
HEAD = 132
DRAFT = ".receiving-"
#: A draft that nobody has written to for so long belongs to no living process.
ABANDONED_S = 3600.0
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_READ = 1 << 20


class Why(StrEnum):
    """Why an object was refused."""

    DISK = "no room on the disk, or it cannot be written"
    TOO_LARGE = "larger than this hospital accepts"
    MALFORMED = "no DICOM object, or not all of one"
    MISMATCH = "not the object it was announced as"


class RefusedError(Exception):
    """The object is not kept, for `why`. Names nothing of it."""

    def __init__(self, why: Why) -> None:
        super().__init__(why.value)
        self.why = why


@dataclass(frozen=True)
class Kept:
    """Where it went: keyed hashes of object and series in hexadecimal. `again`: it was there already; `beside`: another
    content has its UID."""

    sop: str
    series: str
    bytes: int
    again: bool = False
    beside: bool = False


def is_uid(text: str) -> bool:
    """Whether `text` is a UID: digits and dots, at most 64 (PS3.5 9.1; leading zeros occur and harm nobody)."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


class Store:
    """The folder of received objects. `key` is the site's. Many threads and processes may keep into one folder."""

    def __init__(self, folder: Path, key: bytes, *, largest: int = 2 << 30, floor: int = 5 << 30) -> None:
        self.folder = private_folder(folder)
        self.largest, self.floor = largest, floor
        self._key = key
        self._made: set[str] = set()
        self._making = threading.Lock()
        _sweep(folder)

    def sop(self, uid: str) -> str:
        """The name under which the object with SOP Instance UID `uid` is kept."""
        return short_key(self._key, "sop", uid.encode()).hex()

    def series(self, uid: str) -> str:
        """The name of the series `uid`'s folder."""
        return short_key(self._key, "series", uid.encode()).hex()

    def held(self, series_uid: str) -> frozenset[str]:
        """The names, as `sop` gives them, of the objects of a series that are here."""
        folder = self._folder(self.series(series_uid))
        if not folder.is_dir():
            return frozenset()
        return frozenset(path.name[:32] for path in folder.iterdir() if path.suffix == ".dcm")

    def keep(
        self,
        chunks: Iterable[bytes],
        *,
        sop_class: str = "",
        sop_uid: str = "",
        wanted: Container[str] | None = None,
    ) -> Kept:
        """Write the DICOM file that `chunks` make up; `sop_class` and `sop_uid` are what it was announced as, if it
        was, `wanted` the names, as `sop` gives them, of which it must be one.

        Raises RefusedError, and whatever `chunks` raises.
        """
        with self._draft() as (draft, file):
            size = self._write(file, chunks)
            header = _read(draft)
            if (sop_class and header.sop_class != sop_class) or (sop_uid and header.sop_uid.decode() != sop_uid):
                raise RefusedError(Why.MISMATCH)
            if wanted is not None and self.sop(header.sop_uid.decode()) not in wanted:
                raise RefusedError(Why.MISMATCH)
            with _disk():
                os.fsync(file.fileno())
                return self._place(draft, header, size)

    @contextmanager
    def _draft(self) -> Iterator[tuple[Path, BinaryIO]]:
        """A file to write, gone when the block ends unless it got its name."""
        with _disk():
            if shutil.disk_usage(self.folder).free < self.floor:
                raise RefusedError(Why.DISK)
            handle, name = tempfile.mkstemp(prefix=DRAFT, dir=self.folder)
        try:
            with os.fdopen(handle, "wb") as file:
                yield Path(name), file
        finally:
            Path(name).unlink(missing_ok=True)

    def _write(self, file: BinaryIO, chunks: Iterable[bytes]) -> int:
        """All of `chunks`, the first HEAD bytes last; how many bytes that were. The errors of `chunks` stay theirs."""
        head, size = b"", 0
        with _disk():
            file.seek(HEAD)
        for chunk in chunks:
            size += len(chunk)
            if size > self.largest:
                raise RefusedError(Why.TOO_LARGE)
            missing = HEAD - len(head)
            head += bytes(chunk[:missing])
            with _disk():
                file.write(memoryview(chunk)[missing:] if missing else chunk)
        with _disk():
            file.seek(0)
            file.write(head)
            file.flush()
        if head[128:] != b"DICM":
            raise RefusedError(Why.MALFORMED)
        return size

    def _place(self, draft: Path, header: Header, size: int) -> Kept:
        """Give `draft` its name, unless that content has it already."""
        sop, series = self.sop(header.sop_uid.decode()), self.series(header.series_uid.decode())
        folder = self._ready(series)
        kept = Kept(sop, series, size)
        with _turn(folder):
            first = folder / f"{sop}.dcm"
            if there := _whole(first):
                content = _content(draft, header.transfer_syntax)
                if content == _content(first, there.transfer_syntax):
                    return Kept(sop, series, size, again=True)
                first = folder / f"{sop}-{content[:16]}.dcm"
                kept = Kept(sop, series, size, again=first.exists(), beside=True)
            draft.replace(first)
            sync_folder(folder)
        return kept

    def _folder(self, series: str) -> Path:
        return self.folder / series[:2] / series

    def _ready(self, series: str) -> Path:
        """The series' folder, on disk itself: a file in a folder that is lost is lost too."""
        folder = self._folder(series)
        with self._making:
            if series not in self._made or not folder.is_dir():
                for made in (folder.parent, folder):
                    made.mkdir(mode=0o700, exist_ok=True)
                    sync_folder(made.parent)
                self._made.add(series)
        return folder


@contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except OSError:
        raise RefusedError(Why.DISK) from None


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """One thread of one process at a time gives names in `folder`; also waits until another's name is synced."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _read(path: Path) -> Header:
    """The header, as the scan will read it. Raises RefusedError where the scan could make nothing of the file."""
    try:
        header = read_header(path)
    except LeftOutError:
        raise RefusedError(Why.MALFORMED) from None
    uids = (header.sop_uid, header.series_uid, header.study_uid)
    if not header.complete or not all(uid.isascii() and is_uid(uid.decode()) for uid in uids):
        raise RefusedError(Why.MALFORMED)
    return header


def _whole(path: Path) -> Header | None:
    """The header of the file at `path`; None if there is none, or the disk spoiled it: then it may be replaced."""
    try:
        return _read(path) if path.exists() else None
    except RefusedError:
        return None


def _content(path: Path, syntax: str) -> str:
    """SHA-256 of transfer syntax and data set. Who wrote the file's meta information (group 2) and when is left out:
    the same object by DIMSE and by DICOMweb is one content."""
    state = hashlib.sha256(syntax.encode() + b"\0")
    with path.open("rb") as file:
        start = file.read(HEAD + 12)
        # (0002,0000) UL, the length of group 2 behind it (PS3.10 7.1)
        grouped = start[HEAD : HEAD + 8] == b"\x02\x00\x00\x00UL\x04\x00"
        file.seek(HEAD + 12 + int.from_bytes(start[HEAD + 8 :], "little") if grouped else 0)
        while chunk := file.read(_READ):
            state.update(chunk)
    return state.hexdigest()


def _sweep(folder: Path) -> None:
    """Remove what killed processes left. Raises SiteError where the folder does not let us."""
    try:
        for path in folder.glob(f"{DRAFT}*"):
            with suppress(FileNotFoundError):  # another process swept, or finished, first
                if time.time() - path.stat().st_mtime > ABANDONED_S:
                    path.unlink()
    except OSError as error:
        got = error.strerror or "an I/O error"
        raise SiteError("the folder of received objects", expected="one we may write", got=got) from None
