"""The cache under real processes that are killed, that outlive what started them, or that build at once."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from client.dicom.cache import Cache
from client.dicom.item import Item
from shared.errors import SiteError
from shared.study import Input

SPEC = Input(modalities=("DX",), size=(8, 8))
ROW = 4 * 8 * 8

#: In `folder`: decoded, a word for every item that was; the functions that the processes of a crew load.
MODULE = """
import time
from pathlib import Path
import numpy as np

def decode(item, spec):
    time.sleep(0.01)
    with Path({folder!r}, "decoded").open("a") as log:
        log.write(f"{{item.name[0]}} ")
    return np.full(spec.shape, item.name[0], np.float32)

def linger(item, spec):
    decode(item, spec)
    time.sleep(1)
    return decode(item, spec)
"""
#: Builds rows by two processes of a crew, or alone, row n being n everywhere; says how many are entered, then "whole".
PROGRAM = """
import sys
from pathlib import Path
import slow_decode
from client.dicom import decoding
from client.dicom.cache import Cache
from client.dicom.crew import Limits
from client.dicom.item import Item
from shared.study import Input

root, how, function, count = sys.argv[1:]
if how == "crew":
    decoding.ALONE = 0
decode = getattr(slow_decode, function)
cache = Cache(Path(root), Input(modalities=("DX",), size=(8, 8)), decode=decode, limits=Limits(processes=2))
items = [Item(bytes([n] * 16), ()) for n in range(int(count))]
cached = cache.build(items, lambda done, total: print(done, flush=True))
assert cached.pixels[cached.rows].min(axis=(1, 2, 3)).tolist() == list(range(len(items)))
assert cached.pixels[cached.rows].max(axis=(1, 2, 3)).tolist() == list(range(len(items)))
print("whole", flush=True)
"""


@dataclass(frozen=True)
class Running:
    """A process and the file that it writes to: a pipe would be read to its end only when its orphans have ended."""

    process: "subprocess.Popen[bytes]"
    output: Path

    def words(self) -> list[str]:
        return self.output.read_text().split()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """start("alone" or "crew") → a process that builds 40 items."""
    (tmp_path / "slow_decode.py").write_text(MODULE.format(folder=str(tmp_path)))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, sys.path)]))
    started: list[Running] = []

    def run(how: str, function: str = "decode", count: int = 40) -> Running:
        output = tmp_path / f"{len(started)}.txt"
        words = [sys.executable, "-c", PROGRAM, str(tmp_path / "cache"), how, function, str(count)]
        with output.open("wb") as file:
            running = Running(subprocess.Popen(words, stdout=file, stderr=file), output)
        started.append(running)
        return running

    yield run
    for each in started:
        each.kill()


def decoded(tmp_path: Path) -> list[int]:
    log = tmp_path / "decoded"
    return list(map(int, log.read_text().split())) if log.exists() else []


def until(running: Running, condition: Callable[[], bool]) -> None:
    while not condition():
        assert running.process.poll() is None, running.words()
        time.sleep(0.002)


@pytest.mark.parametrize(("how", "moments"), [("alone", (0, 9)), ("crew", (9,))])
def test_a_killed_build_goes_on_where_it_stopped(
    start: Start, tmp_path: Path, how: str, moments: tuple[int, ...]
) -> None:
    entered = 0
    for moment in moments:  # entered rows; 0: the room is taken, no more
        build = start(how)
        until(build, lambda: str(moment) in build.words() or (not moment and any(tmp_path.glob("cache/*/*.rows"))))  # noqa: B023
        build.kill()
        entered += max(map(int, ["0", *build.words()]))
    last = start(how)
    assert last.process.wait() == 0, last.words()
    lines = last.words()
    assert lines[-1] == "whole"
    assert len(lines) - 1 <= 40 - entered
    # what was in the hands of those who were killed is all that was decoded twice
    assert len(decoded(tmp_path)) <= 40 + 4 * len(moments)
    assert set(decoded(tmp_path)) == set(range(40))
    (rows,) = tmp_path.glob("cache/*/*.rows")
    assert rows.stat().st_size == 40 * ROW


def test_a_process_that_outlives_its_build_writes_over_nobodys_row(start: Start, tmp_path: Path) -> None:
    build = start("crew", "linger", 1)
    until(build, lambda: decoded(tmp_path) == [0])
    build.kill()
    ones = np.ones((1, 8, 8), np.float32)
    cached = Cache(tmp_path / "cache", SPEC, decode=lambda *_: ones).build([Item(b"one".ljust(16), ())])
    assert decoded(tmp_path) == [0, 0]  # it has had its last word
    assert cached.rows.tolist() == [0]
    assert np.array_equal(cached.pixels[0], ones)


def test_two_builds_at_once_do_the_work_once(start: Start, tmp_path: Path) -> None:
    builds = [start("alone"), start("alone")]
    assert [build.process.wait() for build in builds] == [0, 0]
    assert sorted(len(build.words()) for build in builds) == [1, 41]
    assert sorted(decoded(tmp_path)) == list(range(40))


SMALL_DISK = """
import resource, sys
from pathlib import Path
from client.dicom.cache import Cache
from client.dicom.item import Item
from shared.errors import SiteError
from shared.study import Input
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    items = [Item(bytes([n] * 16), ()) for n in range(9)]
    Cache(Path(sys.argv[1]), Input(modalities=("DX",), size=(64, 64))).build(items)
except SiteError as error:
    sys.exit(str(error))
"""


def test_a_really_full_disk(tmp_path: Path) -> None:
    words = [sys.executable, "-c", SMALL_DISK, str(tmp_path / "cache")]
    run = subprocess.run(words, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "expected room for 147,456 bytes, got File too large" in run.stderr
    assert "Traceback" not in run.stderr
    assert next(tmp_path.glob("cache/*/*.rows")).stat().st_size == 0


def test_a_forked_process_that_has_rows_mapped_keeps_them(tmp_path: Path) -> None:
    """Whoever has them mapped, not whoever built them."""
    ones = np.ones((1, 8, 8), np.float32)
    cache = Cache(tmp_path / "cache", SPEC, limit_bytes=ROW, decode=lambda *_: ones)
    running = cache.build([Item(bytes(16), ())])
    child = os.fork()
    if child == 0:
        time.sleep(600)
        os._exit(0)
    try:
        del running
        with pytest.raises(SiteError, match="studies that run now"):
            cache.build([Item(b"other".ljust(16), ())])
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert not cache.build([Item(b"other".ljust(16), ())]).failures
