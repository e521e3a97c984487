import errno
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from client.dicom.cache import Cache, Cached
from client.dicom.canonical import canonical
from client.dicom.item import Item, Location, Part
from client.dicom.reasons import Reason
from shared.errors import SiteError
from shared.study import Input

Write = Callable[..., Path]
Build = Callable[..., Cached]

SPEC = Input(modalities=("DX",), size=(8, 8))
ROW = 4 * 8 * 8


def item_of(path: Path, name: bytes | None = None) -> Item:
    status = path.stat()
    stamp = (status.st_size, status.st_mtime_ns, status.st_ino)
    return Item(name or path.stem.encode().ljust(16), (Part(Location(path), stamp),))


@pytest.fixture
def items(write: Write) -> list[Item]:
    rng = np.random.default_rng(1)
    return [item_of(write(f"{n}.dcm", n, rng.integers(0, 4000, (16, 16)).astype(np.uint16))) for n in range(5)]


class Counting:
    """A cache whose decoded items are counted in `decoded`; the clock is one second later at each build."""

    def __init__(self, root: Path, **settings: object) -> None:
        self.root, self.settings = root, settings
        self.decoded: list[str] = []
        self.now = 0

    def cache(self, spec: Input = SPEC) -> Cache:
        return Cache(self.root, spec, decode=self._decode, clock=lambda: self.now, **self.settings)  # type: ignore[arg-type]

    def _decode(self, item: Item, spec: Input) -> NDArray[np.float32]:
        self.decoded.append(item.name.decode().strip())
        return canonical(item, spec)

    def build(self, items: Sequence[Item], spec: Input = SPEC) -> Cached:
        self.now += 1
        self.decoded.clear()
        return self.cache(spec).build(items)


@pytest.fixture
def counting(tmp_path: Path) -> Counting:
    return Counting(tmp_path / "cache")


def check(cached: Cached, items: Sequence[Item], spec: Input = SPEC) -> None:
    """`cached` has exactly `items`, in their order, as they decode."""
    assert cached.names == tuple(item.name for item in items)
    assert cached.rows.dtype == np.int64
    for row, item in zip(cached.rows, items, strict=True):
        assert np.array_equal(cached.pixels[row], canonical(item, spec))


def rows_file(root: Path) -> Path:
    (path,) = root.glob("*/*.rows")
    return path


def test_rows_are_the_items_in_order(counting: Counting, items: list[Item]) -> None:
    cached = counting.build(items[::-1])
    check(cached, items[::-1])
    assert cached.pixels.shape == (5, 1, 8, 8)
    assert isinstance(cached.pixels.base, np.memmap)
    assert not cached.pixels.flags.writeable
    assert not cached.failures
    assert {oct(path.stat().st_mode)[-3:] for path in counting.root.rglob("*") if path.is_file()} == {"600"}


def test_studies_share_what_they_have_in_common(counting: Counting, items: list[Item]) -> None:
    one = counting.build(items[1:3])
    assert counting.decoded == ["1", "2"]
    two = counting.build(items[2:])
    assert counting.decoded == ["3", "4"]
    check(one, items[1:3])
    check(two, items[2:])
    check(counting.build(items), items)
    assert counting.decoded == ["0"]
    check(counting.build(items[1:3]), items[1:3])
    assert not counting.decoded
    assert rows_file(counting.root).stat().st_size == 5 * ROW


def test_an_item_that_is_wanted_twice_has_one_row(counting: Counting, items: list[Item]) -> None:
    cached = counting.build([items[0], items[1], items[0]])
    assert counting.decoded == ["0", "1"]
    check(cached, [items[0], items[1], items[0]])
    assert len(cached.pixels) == 2


def test_tensors_of_volumes_have_rows_too(counting: Counting, items: list[Item], tmp_path: Path) -> None:
    spec = Input(modalities=("CT",), kind="volume", size=(8, 9, 10))
    volume = np.arange(720, dtype=np.float32).reshape(1, 8, 9, 10)
    cached = Cache(tmp_path / "cache", spec, decode=lambda *_: volume).build(items[:2])
    assert cached.pixels.shape == (2, 1, 8, 9, 10)
    assert np.array_equal(cached.pixels[cached.rows[1]], volume)


def test_what_fails_is_told_and_takes_no_room(counting: Counting, items: list[Item]) -> None:
    broken = items[1].parts[0].location.path
    broken.write_bytes(broken.read_bytes()[:-20])
    items[1] = item_of(broken)
    os.utime(items[3].parts[0].location.path, ns=(1, 1))
    seen: list[tuple[int, int]] = []
    cached = counting.cache().build(items, lambda *done: seen.append(done))
    assert cached.failures == {items[1].name: Reason.TRUNCATED, items[3].name: Reason.CHANGED}
    check(cached, [items[0], items[2], items[4]])
    assert rows_file(counting.root).stat().st_size == 3 * ROW
    assert seen == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


#: What damages the file that somebody has mapped damages what he sees, too.
DAMAGES = [(damage, False) for damage in ("flip", "cut", "foreign")] + [
    (damage, mapped) for damage in ("grow", "record", "record cut", "gone", "no directory") for mapped in (False, True)
]


@pytest.mark.parametrize(("damage", "mapped"), DAMAGES)
def test_what_is_torn_is_decoded_again_and_nothing_else(
    counting: Counting, items: list[Item], damage: str, mapped: bool
) -> None:
    old = counting.build(items)
    kept = old if mapped else None
    del old
    path = rows_file(counting.root)
    directory = path.with_suffix(".directory")
    data, records = bytearray(path.read_bytes()), bytearray(directory.read_bytes())
    again = ["0", "1", "2", "3", "4"]
    if damage == "flip":
        data[2 * ROW + 7] ^= 1
        path.write_bytes(data)
        again = ["2"]
    elif damage == "cut":
        path.write_bytes(data[:-1])
        again = ["4"]
    elif damage == "grow":
        path.write_bytes(data + b"x")
        again = []
    elif damage == "record":
        records[3 * 32 + 20] ^= 1
        directory.write_bytes(records)
        again = ["3"]
    elif damage == "record cut":
        directory.write_bytes(records[:-1])
        again = ["4"]
    elif damage == "gone":
        path.unlink()
    elif damage == "no directory":
        directory.unlink()
    else:
        other = Input(modalities=("CT",), size=(8, 8))
        counting.build(items, other)
        shutil.copy(counting.cache(other).folder / path.name, path)
        shutil.copy(counting.cache(other).folder / directory.name, directory)
    check(counting.build(items), items)
    assert counting.decoded == again
    check(counting.build(items), items)
    assert not counting.decoded
    if kept:
        check(kept, items)


def test_what_is_mapped_is_never_written_again(counting: Counting, items: list[Item]) -> None:
    """Even where the directory says that it holds nothing."""
    old = counting.build(items[:3])
    before = np.array(old.pixels)
    path = rows_file(counting.root)
    path.with_suffix(".directory").write_bytes(b"\xff" * 96)
    check(counting.build(items[3:]), items[3:])
    assert np.array_equal(old.pixels, before)
    assert path.stat().st_size == 5 * ROW
    del old
    check(counting.build(items), items)
    assert path.stat().st_size == 5 * ROW


def test_the_least_recently_used_goes_for_the_newest(tmp_path: Path, items: list[Item]) -> None:
    counting = Counting(tmp_path / "cache", limit_bytes=4 * ROW)
    large = Input(modalities=("DX",), size=(16, 8))  # two rows' worth
    counting.build(items[:2])
    counting.build(items[2:3], large)
    counting.build(items[:1])
    check(counting.build(items[3:4]), items[3:4])  # the second of the small ones had to go
    counting.build(items[:1])
    assert not counting.decoded
    counting.build(items[2:3], large)
    assert not counting.decoded
    counting.build(items[1:2])  # the fourth goes
    assert counting.decoded == ["1"]
    counting.build(items[:1])
    assert not counting.decoded
    assert sum(path.stat().st_size for path in counting.root.glob("*/*.rows")) == 4 * ROW


def test_what_a_study_wants_stays_though_it_is_as_old_as_the_rest(tmp_path: Path, items: list[Item]) -> None:
    counting = Counting(tmp_path / "cache", limit_bytes=2 * ROW)
    for wanted in (items[:1], items[1:2]):
        counting.now = 0
        counting.build(wanted)
    counting.now = 0
    check(counting.build([items[0], items[2]]), [items[0], items[2]])
    assert counting.decoded == ["2"]


def test_no_study_pushes_out_one_that_runs(tmp_path: Path, items: list[Item]) -> None:
    counting = Counting(tmp_path / "cache", limit_bytes=4 * ROW)
    running = counting.build(items[:3])
    with pytest.raises(SiteError, match="1,280 bytes, got 1,024 bytes and studies that run now hold the rest"):
        counting.build(items[3:])
    assert not counting.decoded
    check(running, items[:3])
    del running
    check(counting.build(items[3:]), items[3:])


def test_a_study_larger_than_the_limit_is_told_before_any_work(tmp_path: Path, items: list[Item]) -> None:
    counting = Counting(tmp_path / "cache", limit_bytes=4 * ROW)
    with pytest.raises(SiteError, match=r"a limit of at least 1,280 bytes, got 1,024 bytes.*Raise the site's limit"):
        counting.build(items)
    assert not counting.decoded
    assert not (tmp_path / "cache").exists()
    check(counting.build([*items[:4], *items[:4]]), [*items[:4], *items[:4]])


def test_no_items_no_row(counting: Counting) -> None:
    cached = counting.build([])
    assert cached.pixels.shape == (0, 1, 8, 8)
    assert cached.rows.shape == (0,)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_found_before_any_work(
    counting: Counting, items: list[Item], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def full(*_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(SiteError, match=r"expected room for 1,280 bytes, got .* bytes free.*Free space") as caught:
        counting.build(items)
    assert caught.value.exit_status == 1
    assert not counting.decoded
    assert rows_file(counting.root).stat().st_size == 0


def test_a_disk_error_while_decoding_keeps_what_is_done(
    counting: Counting, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    write, calls = os.pwrite, list[int]()

    def failing(file: int, data: bytes, start: int) -> int:
        if len(data) == ROW:
            calls.append(start)
            if len(calls) == 3:
                raise OSError(errno.EIO, "Input/output error")
        return write(file, data, start)

    with monkeypatch.context() as patch, pytest.raises(SiteError, match="Input/output error"):
        patch.setattr(os, "pwrite", failing)
        counting.build(items)
    assert rows_file(counting.root).stat().st_size == 2 * ROW
    check(counting.build(items), items)
    assert counting.decoded == ["2", "3", "4"]
