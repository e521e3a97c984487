"""Zip files as folders: their members are read where they lie, never unpacked to disk.

Guarantees: a zip is opened only if its directory is small enough to be read, its members do not overlap, and what they
announce is no bomb; no member is ever inflated beyond the size it announces; names of members are names, never paths.
Nested zips are not followed. A zip stays open for the next member, in each process. Deflated and stored members only.

    >>> read(Location(Path("export.zip"), "IM0001"), limit=1 << 28)[128:132]
    b'DICM'
"""

import atexit
import contextlib
import itertools
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import Dataset

from client.dicom.item import Location, Stamp
from client.dicom.pixels.objects import open_header, open_object
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning.elements import HEADER_LIMIT, Read
from client.dicom.scanning.header import DamagedError, Header, header_of, read_header
from client.dicom.scanning.opening import open_regular, stamp_of

#: Of one zip: members, bytes of its directory (at most 100 to 200 bytes a member), and zips held open at once.
MEMBERS_LIMIT = 100_000
DIRECTORY_LIMIT = 1 << 24
OPEN_LIMIT = 4
#: How many times its bytes a zip, or a large member, may become. Black images shrink a thousandfold, but are small.
RATIO_LIMIT = 100
RATIO_FREE = 1 << 28

#: Of a damaged member: bytes that are looked at for its header, and that are unpacked at once.
_START, _PIECE = 1 << 16, 1 << 8

_END = struct.Struct("<4s4xHHIIH")  # APPNOTE.TXT 4.3.16
_END64, _LOCATOR = struct.Struct("<4s20xQQQQ"), 20  # 4.3.14, 4.3.15
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, LookupError)


@dataclass(frozen=True)
class Member:
    """A file in a zip. `fault`: "" or the Reason why it is not read."""

    name: str
    size: int
    fault: str = ""


def is_container(name: str) -> bool:
    """Whether a file of this name is looked into."""
    return name[-4:].lower() == ".zip"


def members(path: Path) -> tuple[Member, ...]:
    """The files in the zip at `path`, in the order of their names; of equal names the last, as unzip does.

    Raises LeftOutError (unsafe_container, unreadable, special_file).
    """
    infos = _zip(path)[0].NameToInfo
    return tuple(Member(name, infos[name].file_size, _fault(infos[name])) for name in sorted(infos) if name[-1:] != "/")


def _fault(info: zipfile.ZipInfo) -> str:
    if not info.filename:  # a Location without a member is the zip itself
        return Reason.UNSAFE_CONTAINER.value
    encrypted, packed = info.flag_bits & 0x1, info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    bomb = info.file_size > max(RATIO_FREE, RATIO_LIMIT * info.compress_size)
    return Reason.UNSAFE_CONTAINER.value if encrypted or packed or bomb or is_container(info.filename) else ""


def stamp(location: Location) -> Stamp:
    """Of a member: its size, and the zip's time of change and inode. Raises LeftOutError, also where nothing is."""
    if not location.member:
        with _descriptor(location.path) as descriptor:
            return stamp_of(os.fstat(descriptor))
    opened, (_, changed, inode) = _zip(location.path)
    return _info(opened, location.member).file_size, changed, inode


def read(location: Location, limit: int, expected: Stamp | None = None) -> bytes:
    """All bytes of the object at `location`, which may have at most `limit`, and is still as it was when `expected`.

    Raises LeftOutError (unreadable, special_file, too_large, changed, unsafe_container).
    """
    with _opened(location) as (reader, found):
        if found != (expected or found):
            raise LeftOutError(Reason.CHANGED)
        if found[0] > limit:
            raise LeftOutError(Reason.TOO_LARGE)
        data = reader(found[0], 0)
    if len(data) != found[0]:
        raise LeftOutError(Reason.CHANGED)
    return data


def header(location: Location) -> Header:
    """As `read_header`, of a member too: a damaged one still tells what stands before the damage."""
    if not location.member:
        return read_header(location.path)
    try:
        with _opened(location) as (reader, found):
            return header_of(reader, found)
    except DamagedError:
        raise
    except LeftOutError as problem:
        if problem.reason is not Reason.UNSAFE_CONTAINER:
            raise
        return _damaged(location)


def _damaged(location: Location) -> Header:
    """Raises DamagedError with what the first bytes of the member at `location` say, else LeftOutError; both
    unsafe_container."""
    opened, (_, changed, inode) = _zip(location.path)
    info, problem = _info(opened, location.member), LeftOutError(Reason.UNSAFE_CONTAINER)
    if _fault(info):
        raise problem
    with _descriptor(location.path) as descriptor:
        start = _start(lambda length, offset: _pread(descriptor, length, offset), info)
    try:
        found = header_of(lambda length, offset: start[offset : offset + length], (info.file_size, changed, inode))
    except DamagedError as damaged:
        found = damaged.header
    except LeftOutError:
        raise problem from None
    raise DamagedError(problem.reason, found)


def _start(read: Read, info: zipfile.ZipInfo) -> bytes:
    """The first bytes of a member, as far as they can be unpacked, whatever its checksum says (APPNOTE.TXT 4.3.7)."""
    name, extra = struct.unpack("<HH", read(4, info.header_offset + 26).ljust(4, b"\0"))
    packed = read(min(info.compress_size, _START), info.header_offset + 30 + name + extra)
    if info.compress_type == zipfile.ZIP_STORED:
        return packed
    inflater, start = zlib.decompressobj(-zlib.MAX_WBITS), b""
    try:
        for first in range(0, len(packed), _PIECE):
            start += inflater.decompress(packed[first : first + _PIECE], _START)
            if len(start) >= _START:
                break
    except zlib.error:  # what came before it is still there
        pass
    return start


def dataset(location: Location, offset: int = -1) -> Dataset:
    """All that tells where the frames of an object lie; `offset`: where its pixels start (Header.offset), -1: unknown.

    Raises LeftOutError as `read` does, too_large for more than HEADER_LIMIT bytes before the pixels.
    """
    with _opened(location) as (reader, found):
        size = found[0] if offset < 0 else min(offset, found[0])
        if size > HEADER_LIMIT:
            raise LeftOutError(Reason.TOO_LARGE)
        data = reader(size, 0)
    return open_header(data) if offset >= 0 else open_object(data)


@contextlib.contextmanager
def _opened(location: Location) -> Iterator[tuple[Read, Stamp]]:
    """A reader of the object and its stamp. Raises LeftOutError(changed) at the end if the file changed meanwhile."""
    if not location.member:
        with _descriptor(location.path) as descriptor:
            before = stamp_of(os.fstat(descriptor))
            yield lambda length, offset: _pread(descriptor, length, offset), before
            if stamp_of(os.fstat(descriptor)) != before:
                raise LeftOutError(Reason.CHANGED)
        return
    opened, (_, changed, inode) = _zip(location.path)
    info = _info(opened, location.member)
    if _fault(info):
        raise LeftOutError(Reason(_fault(info)))
    try:
        with opened.open(info) as file:
            yield (
                lambda length, offset: file.read(length) if file.seek(offset) == offset else b"",
                (
                    info.file_size,
                    changed,
                    inode,
                ),
            )
    except _BROKEN:
        raise LeftOutError(Reason.UNSAFE_CONTAINER) from None
    except OSError:
        raise LeftOutError(Reason.UNREADABLE) from None


@contextlib.contextmanager
def _descriptor(path: Path) -> Iterator[int]:
    descriptor = open_regular(path)
    try:
        yield descriptor
    except OSError:
        raise LeftOutError(Reason.UNREADABLE) from None
    finally:
        os.close(descriptor)


def _pread(descriptor: int, length: int, offset: int) -> bytes:
    """One pread gives 2 GiB at most."""
    data = os.pread(descriptor, length, offset)
    while len(data) < length and (more := os.pread(descriptor, length - len(data), offset + len(data))):
        data += more
    return data


def _info(opened: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    try:
        return opened.NameToInfo[name]
    except KeyError:
        raise LeftOutError(Reason.CHANGED) from None


#: The zips of this process: path → stamp, file, zip; the one used last stands last.
_held: dict[Path, tuple[Stamp, BinaryIO, zipfile.ZipFile]] = {}


@atexit.register
def close_all() -> None:
    """Close what is held open."""
    while _held:
        _held.popitem()[1][1].close()


def _zip(path: Path) -> tuple[zipfile.ZipFile, Stamp]:
    """The zip at `path`, opened now or before, and its stamp. Raises LeftOutError."""
    try:
        now = stamp_of(path.stat())
    except (OSError, ValueError):
        raise LeftOutError(Reason.UNREADABLE) from None
    held = _held.pop(path, None)
    if held and held[0] != now:
        held[1].close()
        held = None
    if held is None:
        while len(_held) >= OPEN_LIMIT:
            _held.pop(next(iter(_held)))[1].close()
        held = _open(path)
    _held[path] = held
    return held[2], held[0]


def _open(path: Path) -> tuple[Stamp, BinaryIO, zipfile.ZipFile]:
    file = os.fdopen(open_regular(path), "rb")
    try:
        found = stamp_of(os.fstat(file.fileno()))
        if _directory_bytes(file, found[0]) > DIRECTORY_LIMIT:
            raise LeftOutError(Reason.UNSAFE_CONTAINER)
        opened = zipfile.ZipFile(file)
        _check(opened, found[0])
    except BaseException as error:
        file.close()
        if isinstance(error, _BROKEN):
            raise LeftOutError(Reason.UNSAFE_CONTAINER) from None
        if isinstance(error, OSError):
            raise LeftOutError(Reason.UNREADABLE) from None
        raise
    return found, file, opened


def _directory_bytes(file: BinaryIO, size: int) -> int:
    """What the end record announces, found as zipfile finds it: first without a comment behind it, then with one."""
    start = max(0, size - (1 << 16) - _END.size)
    file.seek(start)
    tail = file.read()
    bare = len(tail) - _END.size
    at = bare if tail[bare : bare + 4] == b"PK\5\6" and tail[-2:] == b"\0\0" else tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < _END.size:
        raise zipfile.BadZipFile
    announced = int(_END.unpack_from(tail, at)[3])
    at64 = at - _LOCATOR - _END64.size
    if at64 >= 0 and tail[at64 : at64 + 4] == b"PK\6\6":
        announced = max(announced, int(_END64.unpack_from(tail, at64)[3]))
    return announced if announced != 0xFFFFFFFF else size


def _check(opened: zipfile.ZipFile, size: int) -> None:
    """Raises LeftOutError(unsafe_container) for too many members, members in one another, and bombs as a whole."""
    infos = sorted(opened.infolist(), key=lambda info: info.header_offset)
    overlapping = any(
        first.header_offset + first.compress_size > second.header_offset for first, second in itertools.pairwise(infos)
    )
    total = sum(info.file_size for info in infos)
    if len(infos) > MEMBERS_LIMIT or overlapping or total > max(RATIO_FREE, RATIO_LIMIT * size):
        raise LeftOutError(Reason.UNSAFE_CONTAINER)
