import fcntl
import json
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import RLELossless

from client.dicom import decoding
from client.dicom.canonical import canonical
from client.dicom.crew import Limits
from client.dicom.decoding import Decode, Task, await_writers, decode_all, write_all
from client.dicom.item import Item, Location, Part
from client.dicom.reasons import Reason
from shared.errors import MisuseError
from shared.study import Input

Write = Callable[..., Path]

#: A JPEG that makes GDCM end the process, and an RLE frame at which its decoder panics.
KNOWN = json.loads((Path(__file__).parents[2] / "fuzz" / "regressions.json").read_text())
SPEC = Input(modalities=("DX",), size=(8, 8))
ROW = 4 * 8 * 8


def item(*paths: Path, name: bytes = b"n" * 16, member: str = "") -> Item:
    stamps = [(status.st_size, status.st_mtime_ns, status.st_ino) for status in map(Path.stat, paths)]
    return Item(name, tuple(Part(Location(path, member), stamp) for path, stamp in zip(paths, stamps, strict=True)))


@pytest.fixture
def tasks(write: Write) -> list[Task]:
    rng = np.random.default_rng(1)
    paths = [write(f"{n}.dcm", n, rng.integers(0, 4000, (16, 16)).astype(np.uint16)) for n in range(5)]
    return [Task(row, item(path)) for row, path in zip((4, 0, 3, 1, 2), paths, strict=True)]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    (tmp_path / "rows").touch()
    return tmp_path / "rows"


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Decode]]:
    """odd("body") → a decode function of a module that the crew's processes can load."""

    def make(body: str) -> Decode:
        text = "import numpy as np\n\n\ndef decode(item, spec):\n    " + body.replace("\n", "\n    ")
        (tmp_path / "odd_decode.py").write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setattr(decoding, "ALONE", 0)
        decode: Decode = __import__("odd_decode").decode
        return decode

    yield make
    sys.modules.pop("odd_decode", None)


@pytest.mark.parametrize("alone", [0, 96])
def test_rows_are_the_images_wherever_they_were_decoded(
    tasks: list[Task], rows: Path, monkeypatch: pytest.MonkeyPatch, alone: int
) -> None:
    monkeypatch.setattr(decoding, "ALONE", alone)
    told: dict[int, int | Reason] = {}
    results = decode_all(rows, SPEC, tasks, told.update)
    data = rows.read_bytes()
    assert len(data) == 5 * ROW
    for task in tasks:
        row = data[task.row * ROW : (task.row + 1) * ROW]
        assert row == canonical(task.item, SPEC).tobytes()
        assert results[task.row] == told[task.row] == zlib.crc32(row)
    assert rows.with_name("writers").exists() == (alone == 0)


@pytest.mark.parametrize("end", ["crash", "panic"])
def test_a_decoder_that_dies_costs_one_image_even_if_there_is_only_one(tmp_path: Path, rows: Path, end: str) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(bytes.fromhex(KNOWN[f"DICOM image: a decoder's {end}"]["hex"]))
    assert decode_all(rows, SPEC, [Task(0, item(path))]) == {0: Reason.DECODE_FAILED}


HANGS = """
import time
if item.name[0] == 2:
    time.sleep(600)
return np.full(spec.shape, item.name[0] / 10, np.float32)
"""
EATS = """
if item.name[0] == 2:
    eaten = [np.ones(1 << 22)]
    while True:
        eaten.append(eaten[0] + 1)
return np.full(spec.shape, item.name[0] / 10, np.float32)
"""


@pytest.mark.parametrize("body", [HANGS, EATS])
def test_an_item_that_hangs_or_eats_memory_costs_itself(
    odd: Callable[[str], Decode], rows: Path, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    monkeypatch.setattr(decoding, "ITEM_S", 1.0 if body is HANGS else 60.0)
    tasks = [Task(row, Item(bytes([row] * 16), ())) for row in range(4)]
    limits = Limits(processes=1, memory_bytes=1 << 28)
    results = decode_all(rows, SPEC, tasks, decode=odd(body), limits=limits)
    assert results.pop(2) is Reason.DECODE_FAILED
    data = np.frombuffer(rows.read_bytes(), np.float32).reshape(4, 64)
    assert data[:, 0].tolist() == [np.float32(row / 10) if row != 2 else 0 for row in range(4)]
    assert results == {row: zlib.crc32(data[row].tobytes()) for row in (0, 1, 3)}


@pytest.mark.parametrize("body", ["return np.zeros((1, 8, 9), np.float32)", "return np.zeros(spec.shape)"])
def test_what_would_run_over_its_row_is_refused(odd: Callable[[str], Decode], rows: Path, body: str) -> None:
    with pytest.raises(MisuseError):
        decode_all(rows, SPEC, [Task(0, Item(b"", ()))], decode=odd(body))
    assert not rows.stat().st_size


def test_time_grows_with_the_files_of_an_item() -> None:
    part = Part(Location(Path("a")), (0, 0, 0))
    assert decoding._seconds(Task(0, Item(b"", (part,) * 300))) == 720


def test_only_few_native_images_are_decoded_here(write: Write, tmp_path: Path) -> None:
    native, packed = write("a.dcm"), write("b.dcm", 2, syntax=RLELossless)
    text = tmp_path / "c.dcm"
    text.write_text("no image")
    jpeg = tmp_path / "d.dcm"
    jpeg.write_bytes(bytes.fromhex(KNOWN["DICOM image: a decoder's crash"]["hex"]))
    assert decoding._here([Task(0, item(native)), Task(1, item(packed))])
    for away in (item(text), item(jpeg), item(native, member="a"), item(native, jpeg), item(*(native,) * 96)):
        assert not decoding._here([Task(0, item(native)), Task(1, away)])


@pytest.mark.parametrize("alone", [0, 96])
def test_a_disk_that_refuses_is_an_error_and_no_reason(
    tasks: list[Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: int
) -> None:
    monkeypatch.setattr(decoding, "ALONE", alone)
    (tmp_path / "rows").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        decode_all(tmp_path / "rows", SPEC, tasks)


def test_a_row_is_written_whole_however_little_goes_at_once(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, start: write(file, data[:7], start))
    with rows.open("r+b") as file:
        write_all(file.fileno(), bytes(range(100)), 3)
    assert rows.read_bytes() == bytes(3) + bytes(range(100))


def test_who_comes_next_waits_for_those_who_may_still_write(odd: Callable[[str], Decode], rows: Path) -> None:
    """Every process of a crew holds the lock from before its first task to its end."""
    body = f"""
import fcntl
with open({str(rows.with_name("writers"))!r}, "ab") as lock:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return np.ones(spec.shape, np.float32)
return np.zeros(spec.shape, np.float32)
"""
    results = decode_all(rows, SPEC, [Task(0, Item(b"", ()))], decode=odd(body))
    assert results == {0: zlib.crc32(np.ones(64, np.float32).tobytes())}
    await_writers(rows)
    with rows.with_name("writers").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
