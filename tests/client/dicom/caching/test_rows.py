import fcntl
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from client.dicom.caching.directory import State
from client.dicom.caching.rows import Rows
from shared.errors import MisuseError

SIZE = 4096
SHAPE = (1, 32, 32)

Filled = Callable[..., Rows]


def name(number: int) -> bytes:
    return bytes([number]) * 16


def put(rows: Rows, row: int, number: int) -> None:
    """`row` holds the image that is `number` everywhere."""
    data = np.full(SHAPE, number, np.float32).tobytes()
    with rows.path.open("r+b") as file:
        os.pwrite(file.fileno(), data, row * SIZE)
    rows.enter(row, name(number), number, zlib.crc32(data))


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Filled]:
    """filled(1, 2) → rows of tmp_path, open, one for each number."""
    with ExitStack() as stack:

        def fill(*numbers: int) -> Rows:
            rows = stack.enter_context(Rows(tmp_path, SIZE))
            rows.reserve(list(range(len(numbers))))
            for row, number in enumerate(numbers):
                put(rows, row, number)
            return rows

        yield fill


def test_room_is_taken_for_what_is_to_come(tmp_path: Path) -> None:
    with Rows(tmp_path / "a", SIZE) as rows:
        rows.reserve([0, 1, 4])
        assert rows.file_bytes == 5 * SIZE
        assert rows.path.stat().st_blocks * 512 == 3 * SIZE  # and for nothing else
        assert rows.directory().state.tolist() == [State.FREE] * 5
        rows.reserve([])
        assert rows.file_bytes == 5 * SIZE
    assert oct(rows.path.stat().st_mode)[-3:] == oct(rows.path.with_suffix(".directory").stat().st_mode)[-3:] == "600"


def test_no_room_takes_nothing(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = filled(1)
    take = os.posix_fallocate

    def full(file: int, start: int, length: int) -> None:
        take(file, start, length)
        if start:
            raise OSError(28, "full")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="full"):
        rows.reserve([0, 3])
    assert rows.file_bytes == SIZE
    assert len(rows.directory().state) == 1


def test_vacant_rows_are_free_ones_then_the_end(filled: Filled) -> None:
    rows = filled(1, 2, 3)
    rows.give_up([1], alone=True)
    assert rows.vacant(3, alone=True) == [1, 3, 4]
    rows.give_up([0], alone=False)
    assert rows.vacant(3, alone=True) == [1, 3, 4]  # a lost row is not free
    with rows.path.open("r+b") as file:
        file.truncate(5 * SIZE + 1)  # more than the directory knows: somebody may have it mapped
    assert rows.vacant(3, alone=True) == [1, 3, 4]
    assert rows.vacant(3, alone=False) == [1, 6, 7]


@pytest.mark.parametrize("damage", ["flip", "cut", "none"])
def test_damaged_rows_are_found(filled: Filled, damage: str) -> None:
    rows = filled(1, 2, 3)
    with rows.path.open("r+b") as file:
        if damage == "flip":
            os.pwrite(file.fileno(), b"x", SIZE)
        elif damage == "cut":
            file.truncate(2 * SIZE - 1)
    found = rows.damaged(rows.directory(), [2, 0, 1])
    assert found == {"flip": [1], "cut": [1, 2], "none": []}[damage]


def test_gaps_are_closed_from_the_end(filled: Filled) -> None:
    rows = filled(1, 2, 3, 4, 5, 6)
    rows.give_up([0, 4], alone=True)
    rows.give_up([2], alone=False)
    rows.close_gaps(rows.directory())
    assert rows.file_bytes == 3 * SIZE
    directory = rows.directory()
    assert directory.places(map(name, range(9))) == {name(6): 0, name(2): 1, name(4): 2}
    assert directory.used.tolist() == [6, 2, 4]
    assert not rows.damaged(directory, range(3))
    assert rows.map(SHAPE)[:, 0, 0, 0].tolist() == [6, 2, 4]


def test_a_move_that_was_killed_leaves_every_row_whole(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = filled(1, 2, 3)
    rows.give_up([0], alone=True)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(rows, "give_up", killed)
        rows.close_gaps(rows.directory())
    directory = rows.directory()
    assert directory.name.tolist() == [name(3), name(2), name(3)]
    assert not rows.damaged(directory, range(3))


def test_a_file_shorter_than_its_directory_is_no_endless_move(filled: Filled) -> None:
    rows = filled(1, 2, 3)
    rows.give_up([0], alone=True)
    with rows.path.open("r+b") as file:
        file.truncate(2 * SIZE + 7)
    rows.close_gaps(rows.directory())
    assert rows.damaged(rows.directory(), [0, 1]) == [0]


def test_a_map_holds_its_rows_as_long_as_an_array_of_it_lives(tmp_path: Path) -> None:
    with Rows(tmp_path, SIZE) as rows:
        rows.reserve([0, 1])
        put(rows, 1, 2)
        pixels = rows.map(SHAPE)
    assert not pixels.flags.writeable
    part = pixels[1, :, 3:5]
    del pixels
    with Rows(tmp_path, SIZE) as other:
        with other.alone() as alone:
            assert not alone
        assert part[0, 0, 0] == 2
        del part
        with other.alone() as alone:
            assert alone
            with pytest.raises(BlockingIOError), rows.path.open("rb") as third:
                fcntl.flock(third, fcntl.LOCK_SH | fcntl.LOCK_NB)
        with Rows(tmp_path, SIZE):
            pass  # nobody is kept out afterwards


def test_a_map_of_another_shape_is_refused(filled: Filled) -> None:
    with pytest.raises(MisuseError, match="4096 bytes"):
        filled(1).map((1, 32, 33))


def test_all_rows_of_a_root_are_found_by_their_names(tmp_path: Path) -> None:
    for folder, file in (("a", "4096.rows"), ("b", "0.rows"), ("b", "x.rows"), ("c", "1024.rows"), ("c", "4096.f32")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / file).touch()
    assert [(each.path.parent.name, each.row_bytes) for each in Rows.all(tmp_path)] == [("a", 4096), ("c", 1024)]
