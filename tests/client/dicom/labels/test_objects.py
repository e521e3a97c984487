import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from client.dicom.item import Location
from client.dicom.labels.objects import files_of, read_object, storage_class
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning import unusual
from shared.errors import InputError

Write = Callable[..., Path]


def deflated(write: Write, body: bytes) -> Path:
    """A file whose dataset is `body`, deflated."""
    path = write("a.dcm")
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    whole = path.read_bytes()
    end = 132 + 12 + int.from_bytes(whole[140:144], "little")
    # PS3.5 A.5: the syntax is two characters and a pad longer
    meta = whole[132:end].replace(b"\x14\x001.2.840.10008.1.2.1\0", b"\x16\x001.2.840.10008.1.2.1.99")
    path.write_bytes(whole[:132] + meta + packer.compress(body) + packer.flush())
    return path


def reason(path: Path, limit: int = 1 << 20) -> Reason:
    with pytest.raises(LeftOutError) as caught:
        read_object(Location(path), limit)
    return caught.value.reason


def test_an_object_is_read_whole(write: Write) -> None:
    path = write("a.dcm", Modality="CT")
    assert read_object(Location(path), 1 << 20).Modality == "CT"
    assert storage_class(Location(path)) == "1.2.840.10008.5.1.4.1.1.7"


def test_one_without_preamble(write: Write) -> None:
    path = write("a.dcm", Modality="CT")
    path.write_bytes(path.read_bytes()[132:])
    assert storage_class(Location(path)) == "1.2.840.10008.5.1.4.1.1.7"
    assert read_object(Location(path), 1 << 20).Modality == "CT"


def test_deflated_within_the_limit_and_beyond(write: Write) -> None:
    element = b"\x08\x00\x60\x00CS\x02\x00CT"
    found = read_object(Location(deflated(write, element)), 1000)
    assert (found.Modality, found.file_meta.TransferSyntaxUID) == ("CT", "1.2.840.10008.1.2.1.99")
    assert reason(deflated(write, element + b"\x10\x00\x10\x00LT" + bytes(60_000)), 1000) is Reason.TOO_LARGE


def test_what_cannot_be_read_has_a_reason(tmp_path: Path, write: Write) -> None:
    path = write("a.dcm")
    assert reason(path, 100) is Reason.TOO_LARGE
    assert reason(tmp_path / "none") is Reason.UNREADABLE
    os.mkfifo(tmp_path / "pipe")
    assert reason(tmp_path / "pipe") is Reason.SPECIAL_FILE
    damaged = deflated(write, b"")
    damaged.write_bytes(damaged.read_bytes()[:-2] + b"\x07" + bytes(8))  # a block type that RFC 1951 reserves
    assert reason(damaged) is Reason.UNREADABLE
    damaged.write_bytes(deflated(write, bytes(range(200))).read_bytes()[:-20])
    assert reason(damaged) is Reason.TRUNCATED


def test_more_items_than_any_object_has(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    nested = Dataset()
    nested.CodeValue = "1"
    path = write("a.dcm", ConceptNameCodeSequence=[nested] * 3)
    assert len(read_object(Location(path), 1 << 20).ConceptNameCodeSequence) == 3
    monkeypatch.setattr(unusual, "ITEMS_LIMIT", 2)
    assert reason(path) is Reason.TOO_LARGE
    item = b"\xfe\xff\x00\xe0" + bytes(4)
    assert reason(deflated(write, b"\x08\x00\x60\x00SQ\0\0\x18\0\0\0" + 3 * item)) is Reason.TOO_LARGE


def test_files_of_a_folder_with_loops_and_zips(tmp_path: Path) -> None:
    for name in ("b/2", "b/1", "a/3"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "a" / "pipe")
    with zipfile.ZipFile(tmp_path / "a" / "z.zip", "w") as packed:
        packed.writestr("4", b"x")
    found = [(str(each.path.relative_to(tmp_path)), each.member) for each in files_of(tmp_path)]
    assert sorted(found) == [("a/3", ""), ("a/z.zip", "4"), ("b/1", ""), ("b/2", "")]
    assert list(files_of(tmp_path / "a" / "3")) == [Location(tmp_path / "a" / "3")]
    assert list(files_of(tmp_path / "a" / "z.zip")) == [Location(tmp_path / "a" / "z.zip", "4")]


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        list(files_of(tmp_path / "none"))
