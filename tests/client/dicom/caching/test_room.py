import shutil
from collections import namedtuple
from contextlib import ExitStack
from pathlib import Path

import pytest

from client.dicom.caching import room
from client.dicom.caching.directory import State
from client.dicom.caching.room import Room
from client.dicom.caching.rows import Rows
from shared.errors import SiteError

SIZE = 4096
NONE = frozenset[int]()


def filled(folder: Path, *used: int, size: int = SIZE) -> Rows:
    """Rows, closed, last used when `used` says; 0 stands for a gap. Row i is named i."""
    rows = Rows(folder, size)
    with rows:
        rows.reserve(list(range(len(used))))
        for row, when in enumerate(used):
            if when:
                rows.enter(row, bytes([row]) * 16, when, 0)
    return rows


def held(rows: Rows) -> list[int]:
    """Which rows are there, by name."""
    with rows:
        directory = rows.directory()
        assert rows.file_bytes == len(directory.state) * rows.row_bytes
        return sorted(each[0] for each in directory.name[directory.rows(State.HELD)].tolist())


def make(root: Path, own: Rows, limit: int | None, new: int, keep: frozenset[int] = NONE) -> None:
    with own, own.alone() as alone:
        Room(root, limit).make(own, keep, new, alone=alone)


def test_what_fits_evicts_nothing(tmp_path: Path) -> None:
    a, b = filled(tmp_path / "a", 1, 2), filled(tmp_path / "b", 1, 0)
    make(tmp_path, b, 5 * SIZE, 2)  # one of them in the gap
    make(tmp_path, b, None, 1000)
    with b:
        assert b.directory().state.tolist() == [1, 0]
    assert held(a) == [0, 1]


def test_the_least_recently_used_goes_first_whoever_has_it(tmp_path: Path) -> None:
    a, b, own = filled(tmp_path / "a", 5, 1, 9), filled(tmp_path / "b", 2, 8), filled(tmp_path / "c", 3, 7)
    make(tmp_path, own, 7 * SIZE, 3)
    assert (held(a), held(b), held(own)) == ([0, 2], [1], [1])


def test_gaps_go_before_anything_that_is_whole(tmp_path: Path) -> None:
    a, own = filled(tmp_path / "a", 0, 0, 9), filled(tmp_path / "c", 0, 7, 0)
    make(tmp_path, own, 4 * SIZE, 2)
    assert (held(a), held(own)) == ([2], [1])


def test_rows_of_other_sizes_count_by_their_bytes(tmp_path: Path) -> None:
    small, own = filled(tmp_path / "a", *range(1, 10), size=SIZE // 4), filled(tmp_path / "c", 99)
    make(tmp_path, own, own.row_bytes * 3, 1)
    assert held(small) == [5, 6, 7, 8]
    assert held(own) == [0]


def test_what_is_wanted_or_mapped_stays(tmp_path: Path) -> None:
    mapped, own = filled(tmp_path / "a", 1, 2), filled(tmp_path / "c", 1, 2, 3)
    with Rows(tmp_path / "a", SIZE):
        make(tmp_path, own, 5 * SIZE, 1, frozenset([0, 2]))
        assert held(own) == [0, 2]
        make(tmp_path, own, 5 * SIZE, 1, frozenset([0, 1]))
        with pytest.raises(
            SiteError, match=r"at least 24,576 bytes, got 20,480 bytes and studies that run now"
        ) as told:
            make(tmp_path, own, 5 * SIZE, 2, frozenset([0, 1]))
    assert "Raise the site's limit, wait until other studies have ended" in str(told.value)
    assert held(mapped) == [0, 1]
    assert held(own) == [0, 2]


def test_nothing_goes_in_vain(tmp_path: Path) -> None:
    a, own = filled(tmp_path / "a", 1, 0, 2), filled(tmp_path / "c", 1)
    with pytest.raises(SiteError):
        make(tmp_path, own, 3 * SIZE, 4)
    with a:
        assert a.directory().state.tolist() == [1, 0, 1]


def test_own_rows_that_others_have_mapped_stay(tmp_path: Path) -> None:
    own = filled(tmp_path / "c", 1, 2)
    with ExitStack() as stack:
        stack.enter_context(Rows(tmp_path / "c", SIZE))
        with pytest.raises(SiteError):
            make(tmp_path, own, 2 * SIZE, 1)
    make(tmp_path, own, 2 * SIZE, 1)
    assert held(own) == [1]


def test_a_lower_limit_holds_from_the_next_build_on(tmp_path: Path) -> None:
    a, own = filled(tmp_path / "a", 1, 2, 3), filled(tmp_path / "c", 4)
    make(tmp_path, own, 2 * SIZE, 0, frozenset([0]))
    assert (held(a), held(own)) == ([2], [0])


def test_nobody_who_asks_for_nothing_new_is_refused(tmp_path: Path) -> None:
    a, own = filled(tmp_path / "a", 1, 2, 3), filled(tmp_path / "c", 4, 5)
    mapped = filled(tmp_path / "d", 1, 2)
    with Rows(tmp_path / "d", SIZE):
        make(tmp_path, own, SIZE, 0, frozenset([0, 1]))
        assert (held(a), held(own), held(mapped)) == ([], [0, 1], [0, 1])
        with pytest.raises(SiteError):
            make(tmp_path, own, SIZE, 1, frozenset([0, 1]))


def test_nobody_has_anything_that_may_go(tmp_path: Path) -> None:
    own = filled(tmp_path / "c", 4)
    with Rows(tmp_path / "c", SIZE):
        make(tmp_path, own, SIZE - 1, 0)
    assert held(own) == [0]


def test_the_disk_is_a_limit_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(room, "SPARE", 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(9 * SIZE, 8 * SIZE, SIZE))
    a, own = filled(tmp_path / "a", 1, 2), filled(tmp_path / "c", 3)
    with pytest.raises(OSError, match="No space left"):
        make(tmp_path, own, 90 * SIZE, 4, frozenset([0]))
    assert held(a) == [0, 1]
    make(tmp_path, own, None, 2, frozenset([0]))
    assert held(a) == [1]


def test_a_tenth_of_the_disk_is_left_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 18 * SIZE))
    a, own = filled(tmp_path / "a", 1), filled(tmp_path / "c", 3)
    make(tmp_path, own, None, 16, frozenset([0]))
    assert held(a) == [0]
    make(tmp_path, own, None, 17, frozenset([0]))
    assert held(a) == []


def test_a_study_that_can_never_fit_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match=r"a limit of at least 4,097 bytes, got 4,096 bytes\. Raise"):
        Room(tmp_path, SIZE).check(SIZE + 1)
    Room(tmp_path, SIZE).check(SIZE)
    Room(tmp_path).check(1 << 60)


def test_rows_without_a_directory_are_gaps(tmp_path: Path) -> None:
    a, own = filled(tmp_path / "a", 1, 2, 3), filled(tmp_path / "c", 4)
    a.path.with_suffix(".directory").unlink()
    make(tmp_path, own, 3 * SIZE, 2, frozenset([0]))
    assert a.path.stat().st_size == 0
    assert held(own) == [0]
