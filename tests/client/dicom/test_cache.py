import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from client.dicom import decoding
from client.dicom.cache import INDEX_LABEL, Cache, Index, Source
from client.dicom.pixels.image import read_image
from client.dicom.reasons import Reason
from shared.errors import SiteError
from shared.study import Input
from shared.wire import digest, pack, unpack

Write = Callable[..., Path]

SPEC = Input(modalities=("DX",), size=(8, 8))


def source(path: Path, name: bytes | None = None) -> Source:
    status = path.stat()
    return Source(name or path.stem.encode(), path, (status.st_size, status.st_mtime_ns, status.st_ino))


@pytest.fixture
def sources(write: Write) -> list[Source]:
    rng = np.random.default_rng(1)
    return [source(write(f"{n}.dcm", n, rng.integers(0, 4000, (16, 16)).astype(np.uint16))) for n in range(5)]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", SPEC)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files decoded from here on."""
    names: list[str] = []

    def read(path: Path, spec: Input) -> NDArray[np.float32]:
        names.append(path.stem)
        return read_image(path, spec)

    monkeypatch.setattr(decoding, "read_image", read)
    return names


def test_rows_are_the_images_in_order(cache: Cache, sources: list[Source]) -> None:
    cached = cache.build(sources)
    assert cached.objects == tuple(each.object for each in sources)
    assert isinstance(cached.pixels, np.memmap)
    assert not cached.pixels.flags.writeable
    for row, each in zip(cached.pixels, sources, strict=True):
        assert np.array_equal(row, read_image(each.path, SPEC))


def test_nothing_is_decoded_twice(cache: Cache, sources: list[Source], decoded: list[str]) -> None:
    before = np.array(cache.build(sources[1:3]).pixels)
    assert decoded == ["1", "2"]
    cached = cache.build(sources)
    assert decoded == ["1", "2", "0", "3", "4"]
    assert np.array_equal(cached.pixels[1:3], before)
    cache.build(sources)
    assert len(decoded) == 5
    assert cache.build(sources[::2]).pixels.shape == (3, 1, 8, 8)
    assert len(decoded) == 5
    assert len(list(cache.folder.glob("*.f32"))) == 1


def test_an_open_map_outlives_a_rebuild(cache: Cache, sources: list[Source]) -> None:
    old = cache.build(sources[:2])
    copy = np.array(old.pixels)
    cache.build(sources[2:])
    assert np.array_equal(old.pixels, copy)


def test_what_fails_leaves_no_gap(cache: Cache, sources: list[Source]) -> None:
    broken = sources[1].path
    broken.write_bytes(broken.read_bytes()[:-20])
    sources[1] = source(broken)
    os.utime(sources[3].path, ns=(1, 1))
    cached = cache.build(sources)
    assert cached.failures == {b"1": Reason.DECODE_FAILED, b"3": Reason.CHANGED}
    assert cached.objects == (b"0", b"2", b"4")
    assert np.array_equal(cached.pixels[2], read_image(sources[4].path, SPEC))
    assert next(cache.folder.glob("*.f32")).stat().st_size == 3 * 8 * 8 * 4


@pytest.mark.parametrize("damage", ["flip", "cut", "grow", "index", "gone", "foreign"])
def test_what_is_torn_is_built_again(cache: Cache, sources: list[Source], decoded: list[str], damage: str) -> None:
    whole = np.array(cache.build(sources).pixels)
    decoded.clear()
    pixels, index = next(cache.folder.glob("*.f32")), cache.folder / "index"
    data = bytearray(pixels.read_bytes())
    if damage == "flip":
        data[700] ^= 1
        pixels.write_bytes(data)
    elif damage == "cut":
        pixels.write_bytes(data[:-1])
    elif damage == "grow":
        pixels.write_bytes(data + b"x")
    elif damage == "index":
        index.write_bytes(index.read_bytes()[:-1])
    elif damage == "gone":
        pixels.unlink()
    else:
        other = Cache(cache.folder, Input(modalities=("CT",), size=(8, 8)))
        other.build(sources)
        decoded.clear()
    assert np.array_equal(cache.build(sources).pixels, whole)
    assert len(decoded) == 5


def test_two_processes_give_the_same(cache: Cache, sources: list[Source], monkeypatch: pytest.MonkeyPatch) -> None:
    alone = np.array(cache.build(sources).pixels)
    monkeypatch.setattr(decoding, "ALONE", 1)
    monkeypatch.setattr(decoding, "CHUNK", 2)
    (cache.folder / "index").unlink()
    seen: list[tuple[int, int]] = []
    again = cache.build(sources, progress=lambda *done: seen.append(done))
    assert np.array_equal(again.pixels, alone)
    assert seen[-1] == (5, 5)


def test_leftovers_of_a_killed_build_vanish(cache: Cache, sources: list[Source]) -> None:
    cache.folder.mkdir()
    (cache.folder / "pixels.partial").write_bytes(b"half")
    (cache.folder / "pixels-0.f32").write_bytes(b"old")
    cache.build(sources)
    names = {path.name for path in cache.folder.iterdir()}
    assert {"index", "lock"} < names
    assert len(names) == 3


def test_no_images_no_file(cache: Cache) -> None:
    assert cache.build([]).pixels.shape == (0, 1, 8, 8)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_found_before_any_work(
    cache: Cache, sources: list[Source], decoded: list[str], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def full(*_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(SiteError, match=r"expected room for 1,280 bytes, got .* bytes free.*Free space") as caught:
        cache.build(sources)
    assert caught.value.exit_status == 1
    assert not decoded
    assert [path.name for path in cache.folder.iterdir()] == ["lock"]


SMALL_DISK = """
import resource, sys
from pathlib import Path
from client.dicom.cache import Cache, Source
from shared.errors import SiteError
from shared.study import Input
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
path = Path(sys.argv[1])
status = path.stat()
stamp = (status.st_size, status.st_mtime_ns, status.st_ino)
sources = [Source(str(n).encode(), path, stamp) for n in range(9)]
try:
    Cache(Path(sys.argv[2]), Input(modalities=("DX",), size=(64, 64))).build(sources)
except SiteError as error:
    sys.exit(str(error))
"""


def test_a_really_full_disk(write: Write, tmp_path: Path) -> None:
    path = write("a.dcm")
    run = subprocess.run(
        [sys.executable, "-c", SMALL_DISK, str(path), str(tmp_path / "cache")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "expected room for 147,456 bytes, got File too large" in run.stderr
    assert "Traceback" not in run.stderr
    assert [each.name for each in (tmp_path / "cache").iterdir()] == ["lock"]


def test_an_index_of_impossible_sizes_is_built_again(cache: Cache, sources: list[Source]) -> None:
    cache.build(sources)
    index = unpack(Index, (cache.folder / "index").read_bytes()[32:])
    wrong = replace(index, shape=(2**62, 2**62, 1))
    (cache.folder / "index").write_bytes(digest(INDEX_LABEL, wrong) + pack(wrong))
    assert cache.build(sources).objects == tuple(one.object for one in sources)
