"""Files made to do harm: each ends as an entry with a reason, soon and in little memory."""

import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian

from client.dicom.pixels import raw
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning import containers, elements, unusual
from client.dicom.scanning.header import header_of, read_header
from client.dicom.scanning.reading import read_entry
from client.dicom.scanning.walk import File

Write = Callable[..., Path]

KEY = b"k" * 32
UNDEFINED = b"\xff\xff\xff\xff"
ITEM, ITEM_END, END = (struct.pack("<HH", 0xFFFE, element) for element in (0xE000, 0xE00D, 0xE0DD))
SEQUENCE = b"\x08\x00\x15\x11SQ\0\0" + UNDEFINED


def fault_of(path: Path) -> str:
    status = path.stat()
    return read_entry(path.parent, KEY, File(path.name, status.st_size, status.st_mtime_ns, status.st_ino)).fault


def insert(path: Path, data: bytes) -> Path:
    """`data` before the modality (0008,0060) of an object in explicit little endian."""
    whole = path.read_bytes()
    at = whole.index(b"\x08\x00\x60\x00CS")
    path.write_bytes(whole[:at] + data + whole[at:])
    return path


def bare(body: bytes) -> bytes:
    """A data set without a preamble, in implicit little endian, which only pydicom reads."""
    name = b"1.2.840.10008.5.1.4.1.1.2\0"
    return b"\x08\x00\x16\x00" + struct.pack("<I", len(name)) + name + body


def reason_of(data: bytes) -> Reason | None:
    try:
        header_of(lambda length, offset: data[offset : offset + length], (len(data), 0, 0))
    except LeftOutError as left_out:
        return left_out.reason
    return None


@pytest.mark.parametrize("depth", [8, 40, 5000, 200_000])
def test_sequences_nested_deep(write: Write, depth: int) -> None:
    open_, close = SEQUENCE + ITEM + UNDEFINED, (ITEM_END + bytes(4) + END + bytes(4)) * depth
    path = insert(write("a.dcm"), open_ * depth + close)
    assert fault_of(path) == ("" if depth <= 40 else Reason.UNREADABLE if depth == 5000 else Reason.TOO_LARGE)


def test_sequences_that_never_end(write: Write) -> None:
    assert fault_of(insert(write("a.dcm"), SEQUENCE)) == Reason.UNREADABLE
    assert fault_of(insert(write("b.dcm"), SEQUENCE + ITEM + UNDEFINED)) in (Reason.TRUNCATED, Reason.UNREADABLE)


@pytest.mark.parametrize("length", [1 << 20, 1 << 31, 0xFFFFFFFE])
def test_a_length_that_the_file_has_not(write: Write, length: int) -> None:
    path = insert(write("a.dcm"), b"\x08\x00\x55\x00UN\0\0" + struct.pack("<I", length))
    tracemalloc.start()
    try:
        assert fault_of(path) == Reason.TRUNCATED
        assert tracemalloc.get_traced_memory()[1] < 1 << 22
    finally:
        tracemalloc.stop()


def test_a_header_without_end_in_a_file_without_end(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elements, "HEADER_LIMIT", 1 << 18)
    path = insert(write("a.dcm"), b"\x08\x00\x55\x00UN\0\0" + struct.pack("<I", 1 << 31))
    os.truncate(path, 1 << 33)  # a hole: no disk
    assert fault_of(path) == Reason.TOO_LARGE


def test_pixels_longer_than_the_file(write: Write) -> None:
    path = write("a.dcm")
    data = path.read_bytes()
    at = data.index(b"\xe0\x7f\x10\x00OW") + 8
    path.write_bytes(data[:at] + struct.pack("<I", 0xFFFFFFFE) + data[at + 4 :])
    assert fault_of(path) == Reason.TRUNCATED


def test_more_items_than_any_object_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def sequence(items: int) -> bytes:
        return b"\x08\x00\x15\x11" + UNDEFINED + (ITEM + bytes(4)) * items + END + bytes(4)

    monkeypatch.setattr(unusual, "ITEMS_LIMIT", 100)
    assert reason_of(bare(sequence(100))) is None
    assert reason_of(bare(sequence(101))) is Reason.TOO_LARGE


def test_more_header_than_pydicom_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    many = b"".join(struct.pack("<HHI", 9, number, 0) for number in range(2000))
    assert reason_of(bare(many)) is None
    monkeypatch.setattr(unusual, "UNUSUAL_LIMIT", 1 << 13)
    assert reason_of(bare(many)) is Reason.TOO_LARGE


@pytest.mark.parametrize(
    ("uid", "fault"),
    [
        *((uid, "") for uid in (b"../../../etc/passwd", b"CON", b"'; DROP TABLE", b"ANON.3.X", b"~" * 64)),
        *((uid, "unreadable") for uid in (b"1.2\n3", b"\xe2\x80\xae1.2", b"1" * 65, b"1.2\0.3", b"", b" \0", b"1\\2")),
    ],
)
def test_hostile_uids(write: Write, uid: bytes, fault: str) -> None:
    """A UID is hashed and nothing else: what is no path, no command and no query is only letters."""
    path = write("a.dcm")
    whole = path.read_bytes()
    at = whole.index(b"\x08\x00\x18\x00UI") + 6
    (length,) = struct.unpack_from("<H", whole, at)
    path.write_bytes(whole[:at] + struct.pack("<H", len(uid)) + uid + whole[at + 2 + length :])
    assert fault_of(path) == fault


def test_a_file_that_grows_or_shrinks_while_it_is_read(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path, pread = write("a.dcm"), os.pread

    def grow(descriptor: int, length: int, offset: int) -> bytes:
        os.truncate(path, path.stat().st_size + 1)
        return pread(descriptor, length, offset)

    def shrink(descriptor: int, length: int, offset: int) -> bytes:
        os.truncate(path, 200)
        return pread(descriptor, length, offset)

    for change in (grow, shrink):
        with monkeypatch.context() as patch:
            patch.setattr(os, "pread", change)
            assert fault_of(path) == Reason.CHANGED


def test_a_pipe_or_device_swapped_in(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    for name in ("pipe", "null"):
        assert read_entry(tmp_path, KEY, File(name, size=99)).fault == Reason.SPECIAL_FILE


def test_a_file_that_went(tmp_path: Path) -> None:
    assert read_entry(tmp_path, KEY, File("gone", size=99)).fault == Reason.UNREADABLE


def test_more_fragments_than_any_object_has(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("a.dcm", syntax="1.2.840.10008.1.2.5")
    path.write_bytes(path.read_bytes()[: read_header(path).offset] + (ITEM + bytes(4)) * 50 + END + bytes(4))
    assert read_header(path).complete
    monkeypatch.setattr(elements, "FRAGMENTS_LIMIT", 50)
    assert fault_of(path) == Reason.TOO_LARGE


def test_fragments_without_end(write: Write) -> None:
    path = write("a.dcm", syntax="1.2.840.10008.1.2.5")
    offset = read_header(path).offset
    data = path.read_bytes()[:offset]
    for tail in (ITEM + UNDEFINED, (ITEM + bytes(4)) * 1000, b"", b"\xfe\xff", b"\x00" * 400):
        path.write_bytes(data + tail)
        assert fault_of(path) == Reason.TRUNCATED


def test_an_object_of_many_frames_that_inflates_without_end(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its frames lie in sequences, so it is inflated twice: never beyond the limit."""
    monkeypatch.setattr(elements, "INFLATED_LIMIT", 1 << 16)
    path = write("a.dcm", NumberOfFrames=2, PixelData=bytes(1 << 20))
    dataset = dcmread(path)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    assert fault_of(path) == Reason.TOO_LARGE
    monkeypatch.setattr(elements, "INFLATED_LIMIT", 1 << 22)
    assert fault_of(path) == ""


def enhanced(path: Path, groups: bytes) -> Path:
    """The object at `path` with `groups` before its pixels, in explicit little endian."""
    data = path.read_bytes()
    at = data.index(b"\xe0\x7f\x10\x00")
    path.write_bytes(data[:at] + groups + data[at:])
    return path


def sequence(tag: int, value: bytes) -> bytes:
    return struct.pack("<HH", tag >> 16, tag & 0xFFFF) + b"SQ\0\0" + struct.pack("<I", len(value)) + value


def item(value: bytes) -> bytes:
    return ITEM + struct.pack("<I", len(value)) + value


#: As many elements as the group has room for, of eight bytes each.
EMPTY = b"".join(struct.pack("<HH", 0x22, number) + b"CS\0\0" for number in range(1000))


@pytest.mark.parametrize(
    "groups",
    [
        sequence(0x52009230, item(EMPTY)),
        sequence(0x52009230, item(sequence(0x00209111, item(EMPTY)))),
        sequence(0x52009230, item(sequence(0x00209111, item(sequence(0x00189076, item(EMPTY)))))),
        sequence(0x52009230, item(b"\x20\x00\x11\x91UN\0\0" + struct.pack("<I", 8 + len(EMPTY)) + item(EMPTY))),
        sequence(0x00209222, item(EMPTY)),
    ],
    ids=["in a frame", "in a macro", "deeper", "as UN", "in the dimensions"],
)
def test_a_header_of_more_elements_than_any_object_has(
    write: Write, monkeypatch: pytest.MonkeyPatch, groups: bytes
) -> None:
    path = enhanced(write("a.dcm", NumberOfFrames=2, PixelData=bytes(64)), groups)
    assert fault_of(path) == ""
    monkeypatch.setattr(raw, "ELEMENTS_LIMIT", 900)
    assert fault_of(path) == Reason.TOO_LARGE


def test_more_frames_in_a_header_than_any_object_has(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = enhanced(write("a.dcm", NumberOfFrames=2, PixelData=bytes(64)), sequence(0x52009230, item(b"") * 100))
    monkeypatch.setattr(raw, "ITEMS_LIMIT", 100)
    assert fault_of(path) == ""
    monkeypatch.setattr(raw, "ITEMS_LIMIT", 99)
    assert fault_of(path) == Reason.TOO_LARGE


def test_a_header_longer_than_is_read(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = enhanced(
        write("a.dcm", NumberOfFrames=2, PixelData=bytes(64)),
        sequence(0x52009230, item(b"\x05\x20\x01\x14OB\0\0" + struct.pack("<I", 1 << 16) + bytes(1 << 16))),
    )
    assert fault_of(path) == ""
    monkeypatch.setattr(containers, "HEADER_LIMIT", 1 << 16)
    assert fault_of(path) == Reason.TOO_LARGE
