import io
import os
import struct
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client.dicom.item import Location
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning import containers
from client.dicom.scanning.containers import members, read, stamp
from client.dicom.scanning.header import read_header

Write = Callable[..., Path]

LIMIT = 1 << 20


def pack(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in files.items():
            file.writestr(name, data)
    return path


def reason_of(work: Callable[[], object]) -> Reason | None:
    try:
        work()
    except LeftOutError as left_out:
        return left_out.reason
    return None


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_reads_as_the_file_does(write: Write, tmp_path: Path, method: int, syntax: str) -> None:
    path = write("a.dcm", syntax=syntax)
    packed = Location(pack(tmp_path / "a.zip", {"d/a": path.read_bytes()}, method), "d/a")
    assert read(packed, LIMIT) == read(Location(path), LIMIT) == path.read_bytes()
    header, whole = containers.header(packed), read_header(path)
    assert (header.sop_uid, header.offset, header.complete) == (whole.sop_uid, whole.offset, True)
    status = packed.path.stat()
    assert header.stamp == stamp(packed) == (path.stat().st_size, status.st_mtime_ns, status.st_ino)


def test_an_unusual_member_is_given_to_pydicom(write: Write, tmp_path: Path) -> None:
    data = write("a.dcm").read_bytes()[132:]  # without a preamble
    packed = pack(tmp_path / "a.zip", {"a": data})
    assert containers.header(Location(packed, "a")).rows == 4
    assert containers.dataset(Location(packed, "a")).Modality == "DX"


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a\nb", "\u202ea", "x" * 4000, "C:\\a\\b"])
def test_names_of_members_are_only_names(tmp_path: Path, name: str) -> None:
    packed = pack(tmp_path / "a.zip", {name: b"data"})
    assert [member.name for member in members(packed)] == [name]
    assert read(Location(packed, name), LIMIT) == b"data"
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_folders_are_no_members_and_of_equal_names_the_last_counts(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.mkdir("folder")
        file.writestr("folder/b", b"old")
        file.writestr("folder/b", b"newer")
    assert [(member.name, member.size) for member in members(tmp_path / "a.zip")] == [("folder/b", 5)]
    assert read(Location(tmp_path / "a.zip", "folder/b"), LIMIT) == b"newer"


def test_a_nested_zip_is_left_out(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as file:
        file.writestr("a", b"x")
    packed = pack(tmp_path / "a.zip", {"b.ZIP": inner.getvalue(), "c": b"x"})
    assert {member.name: member.fault for member in members(packed)} == {"b.ZIP": "unsafe_container", "c": ""}


def test_an_encrypted_member_is_left_out(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", {"a": b"secret"}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    assert [member.fault for member in members(path)] == ["unsafe_container"]
    assert reason_of(lambda: read(Location(path, "a"), LIMIT)) is Reason.UNSAFE_CONTAINER


def test_another_compression_is_left_out(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", {"a": b"x" * 99}, zipfile.ZIP_LZMA)
    assert [member.fault for member in members(path)] == ["unsafe_container"]


def test_a_bomb_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "RATIO_FREE", 1 << 16)
    one = pack(tmp_path / "one.zip", {"a": bytes(1 << 20), "b": os.urandom(1 << 15)})
    assert {member.name: member.fault for member in members(one)} == {"a": "unsafe_container", "b": ""}
    many = pack(tmp_path / "many.zip", {str(number): bytes(1 << 15) for number in range(64)})
    assert reason_of(lambda: members(many)) is Reason.UNSAFE_CONTAINER


def test_members_in_one_another_are_left_out(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", {"a": b"x" * 50, "b": b"y" * 50}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    second = data.index(b"PK\1\2", data.index(b"PK\1\2") + 1)
    data[second + 42 : second + 46] = struct.pack("<I", 10)  # its local header: within the first one's
    path.write_bytes(data)
    assert reason_of(lambda: members(path)) is Reason.UNSAFE_CONTAINER


def test_too_many_members_and_too_large_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pack(tmp_path / "a.zip", {str(number): b"x" for number in range(9)})
    monkeypatch.setattr(containers, "MEMBERS_LIMIT", 8)
    assert reason_of(lambda: members(path)) is Reason.UNSAFE_CONTAINER
    monkeypatch.setattr(containers, "MEMBERS_LIMIT", 9)
    assert len(members(path)) == 9
    os.utime(path, ns=(0, 1))  # not the one that is held open
    monkeypatch.setattr(containers, "DIRECTORY_LIMIT", 100)
    opened = zipfile.ZipFile.__init__
    monkeypatch.setattr(zipfile.ZipFile, "__init__", lambda *_: pytest.fail("its directory was read"))
    assert reason_of(lambda: members(path)) is Reason.UNSAFE_CONTAINER
    monkeypatch.setattr(zipfile.ZipFile, "__init__", opened)


def test_the_directory_of_a_large_zip_is_measured_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)  # makes zipfile write the 64-bit records
    path = pack(tmp_path / "a.zip", {str(number): b"x" for number in range(5)})
    assert b"PK\6\6" in path.read_bytes()
    assert len(members(path)) == 5
    data = path.read_bytes()
    at = data.index(b"PK\6\6") + 40
    path.write_bytes(data[:at] + struct.pack("<Q", 1 << 40) + data[at + 8 :])
    assert reason_of(lambda: members(path)) is Reason.UNSAFE_CONTAINER


@pytest.mark.parametrize("damage", ["cut", "text", "crc", "empty"])
def test_a_damaged_zip_is_a_reason(tmp_path: Path, damage: str) -> None:
    path = pack(tmp_path / "a.zip", {"a": b"0123456789"}, zipfile.ZIP_STORED)
    data = path.read_bytes()
    path.write_bytes(
        {"cut": data[:-30], "text": b"PK\3\4 no", "crc": data.replace(b"0123", b"0124", 1), "empty": b""}[damage]
    )
    assert reason_of(lambda: read(Location(path, "a"), LIMIT)) is Reason.UNSAFE_CONTAINER


def test_sizes_are_limited(write: Write, tmp_path: Path) -> None:
    path = write("a.dcm")
    size = path.stat().st_size
    packed = pack(tmp_path / "a.zip", {"a": path.read_bytes()})
    for location in (Location(path), Location(packed, "a")):
        assert len(read(location, size)) == size
        assert reason_of(partial(read, location, size - 1)) is Reason.TOO_LARGE


def test_what_is_no_longer_what_was_scanned(write: Write, tmp_path: Path) -> None:
    path = write("a.dcm")
    packed = pack(tmp_path / "a.zip", {"a": path.read_bytes()})
    for location in (Location(path), Location(packed, "a")):
        scanned = stamp(location)
        assert read(location, LIMIT, scanned)
        os.utime(location.path, ns=(0, 7))
        assert reason_of(partial(read, location, LIMIT, scanned)) is Reason.CHANGED


def test_a_member_that_went_is_changed(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", {"a": b"x"})
    assert reason_of(lambda: read(Location(path, "b"), LIMIT)) is Reason.CHANGED


def test_a_pipe_in_place_of_a_file_does_not_hang(tmp_path: Path) -> None:
    for name in ("pipe", "pipe.zip"):
        os.mkfifo(tmp_path / name)
    assert reason_of(lambda: read(Location(tmp_path / "pipe"), LIMIT)) is Reason.SPECIAL_FILE
    assert reason_of(lambda: members(tmp_path / "pipe.zip")) is Reason.SPECIAL_FILE


@pytest.mark.parametrize("name", ["none", "a\0b", "x" * 4000])
def test_a_path_that_is_none_is_unreadable(tmp_path: Path, name: str) -> None:
    assert reason_of(lambda: read(Location(tmp_path / name), LIMIT)) is Reason.UNREADABLE
    assert reason_of(lambda: read(Location(tmp_path / name, "member"), LIMIT)) is Reason.UNREADABLE


def test_few_zips_are_open_at_once(tmp_path: Path) -> None:
    paths = [pack(tmp_path / f"{number}.zip", {"a": b"%d" % number}) for number in range(9)]
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(2):
        assert [read(Location(path, "a"), LIMIT) for path in paths] == [b"%d" % number for number in range(9)]
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + containers.OPEN_LIMIT


def test_a_zip_that_was_replaced_is_opened_anew(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", {"a": b"old"})
    assert read(Location(path, "a"), LIMIT) == b"old"
    pack(tmp_path / "b.zip", {"a": b"new one"}).replace(path)
    assert read(Location(path, "a"), LIMIT) == b"new one"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_to_a_zip_is_a_reason(write: Write, tmp_path: Path, data: st.DataObject) -> None:
    method = data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    path = pack(tmp_path / "seed.zip", {"a": write("a.dcm").read_bytes(), "b.zip": b"PK", "c": b""}, method)
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\1\2")
    for _ in range(data.draw(st.integers(1, 6))):
        # the records behind the members decide most
        place = data.draw(st.one_of(st.integers(directory, len(content) - 1), st.integers(0, len(content) - 1)))
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    containers.close_all()

    def look() -> None:
        for member in members(path):
            location = Location(path, member.name)
            reason_of(partial(containers.header, location))
            reason_of(partial(read, location, LIMIT))

    reason_of(look)
