"""The shelf in a file: the contract of every shelf, and that it leaves neither a file behind nor bytes in memory."""

import os
import tracemalloc
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from server.file_shelf import FileShelf
from shared.secagg.shelf import Shelf
from tests.shared.secagg.test_shelf import ShelfContract


class TestFileShelf(ShelfContract):
    def shelf(self) -> AbstractContextManager[Shelf]:
        return FileShelf()


def test_no_file_is_left_behind_and_none_has_a_name(tmp_path: Path) -> None:
    with FileShelf(tmp_path) as shelf:
        shelf.put(0, bytes(1000))
        assert list(tmp_path.iterdir()) == []  # so the file goes with the process, however that ends
        assert shelf.get(0, 0, 1000) == bytes(1000)
    assert list(tmp_path.iterdir()) == []


def test_it_is_closed_after_an_error_too(tmp_path: Path) -> None:
    shelf = FileShelf(tmp_path)
    with pytest.raises(RuntimeError), shelf:
        raise RuntimeError
    with pytest.raises(ValueError, match="closed file"):
        shelf.put(0, b"a")


def test_a_folder_that_is_not_there_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileShelf(tmp_path / "missing")


def test_a_short_write_goes_on_where_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: whole(fd, data[:3], at))
    with FileShelf() as shelf:
        shelf.put(0, b"abcdefgh")
        shelf.put(1, b"ij")
        assert (shelf.get(0, 0, 8), shelf.get(1, 0, 2)) == (b"abcdefgh", b"ij")


def test_a_row_that_found_no_room_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: bytes, at: int) -> int:
        raise OSError(28, "No space left on device")

    with FileShelf() as shelf:
        shelf.put(0, b"abc")
        with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left"):
            patched.setattr(os, "pwrite", full)
            shelf.put(1, b"def")
        with pytest.raises(KeyError):
            shelf.get(1, 0, 3)
        shelf.put(1, b"ghi")
        assert (shelf.get(0, 0, 3), shelf.get(1, 0, 3)) == (b"abc", b"ghi")


def test_memory_does_not_grow_with_the_rows() -> None:
    """64 rows of 1 MiB: what stays in memory is a few bytes for each, and a read takes what was read."""
    row = bytes(1 << 20)
    with FileShelf() as shelf:
        shelf.put(0, row)
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for number in range(64):
                shelf.put(number, row)
            for number in range(64):
                shelf.get(number, 5000, 4096)
            after, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert after - before < 64 * 512
    assert peak - before < 64 * 1024
