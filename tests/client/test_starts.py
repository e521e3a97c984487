"""The files that studies begin with, in a hospital's home."""

import hashlib
import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from client.refusals import in_full, outwards
from client.starts import LacksError, Starts
from shared.errors import PeerError
from shared.study import MINIMAL, Study, parse_study

DATA = b"weights"
NAMES = hashlib.sha256(DATA).hexdigest()
PLAIN = parse_study(MINIMAL)


def study(**model: object) -> Study:
    return replace(PLAIN, model=replace(PLAIN.model, **model))


NEEDS = study(init="a.safetensors", init_sha256=NAMES, trained=("head",))


@pytest.mark.parametrize(
    ("asked", "lacks"),
    [
        (PLAIN, False),
        (study(trained=("head",)), False),
        (study(init="a.safetensors", init_sha256=NAMES), False),
        (NEEDS, True),
        (study(init="a.safetensors", init_sha256=NAMES, frozen=("blocks",)), True),
        (study(init="a.safetensors", init_sha256=NAMES, adapter_rank=2), True),
    ],
)
def test_only_weights_that_stay_need_the_file(asked: Study, lacks: bool, tmp_path: Path) -> None:
    assert Starts(tmp_path).lacks(asked) == lacks


def test_what_is_kept_is_found_by_every_study_that_names_it(tmp_path: Path) -> None:
    Starts(tmp_path / "starts").keep(NEEDS, memoryview(DATA))
    other = study(init="other.safetensors", init_sha256=NAMES, adapter_rank=1)
    assert Starts(tmp_path / "starts").read(other) == DATA
    assert [path.name for path in (tmp_path / "starts").iterdir()] == [f"{NAMES}.safetensors"]
    assert (tmp_path / "starts" / f"{NAMES}.safetensors").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("asked", [NEEDS, PLAIN])
def test_another_file_is_not_kept(asked: Study, tmp_path: Path) -> None:
    with pytest.raises(PeerError, match=r"model\.init"):
        Starts(tmp_path).keep(asked, memoryview(b"others"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("found", [None, b"", b"weight", b"weights!"])
def test_a_file_that_is_not_whole_is_asked_for_again(found: bytes | None, tmp_path: Path) -> None:
    starts = Starts(tmp_path)
    if found is not None:
        (tmp_path / f"{NAMES}.safetensors").write_bytes(found)
    with pytest.raises(LacksError) as refused:
        starts.read(NEEDS)
    told = outwards(refused.value, in_full(refused.value, "alder"))
    assert told.lacks and NAMES in told.expected and "folder starts" in told.do
    starts.keep(NEEDS, memoryview(DATA))
    assert starts.read(NEEDS) == DATA


class TestForgetting:
    """A file goes when it is needed by nobody and old; times are the inode's, which no test can set: 0 s is old."""

    OTHER = hashlib.sha256(b"other").hexdigest()

    def put(self, folder: Path, *names: str) -> None:
        for name in names:
            (folder / name).write_bytes(b"")
            os.utime(folder / name, (0, 0))

    def left(self, folder: Path) -> set[str]:
        return {path.name for path in folder.iterdir()}

    def test_one_that_any_study_needs_stays(self, tmp_path: Path) -> None:
        self.put(tmp_path, f"{NAMES}.safetensors", f"{self.OTHER}.safetensors")
        same = study(init="b.safetensors", init_sha256=NAMES, adapter_rank=1)
        assert Starts(tmp_path).forget((NEEDS, same), 0.0) == 1
        assert Starts(tmp_path).forget((same,), 0.0) == 0
        assert self.left(tmp_path) == {f"{NAMES}.safetensors"}

    def test_one_that_all_weights_leave_behind_goes(self, tmp_path: Path) -> None:
        self.put(tmp_path, f"{NAMES}.safetensors")
        assert Starts(tmp_path).forget((study(init="a.safetensors", init_sha256=NAMES), PLAIN), 0.0) == 1
        assert self.left(tmp_path) == set()

    def test_one_just_put_here_stays_whatever_its_date_says(self, tmp_path: Path) -> None:
        self.put(tmp_path, f"{NAMES}.safetensors")
        assert Starts(tmp_path).forget((), 3600.0) == 0
        assert self.left(tmp_path) == {f"{NAMES}.safetensors"}

    def test_what_a_killed_process_left_goes_and_what_is_not_ours_stays(self, tmp_path: Path) -> None:
        self.put(tmp_path, f".{NAMES}.safetensors.k2x", "notes.txt", "model.safetensors")
        assert Starts(tmp_path).forget((NEEDS,), 0.0) == 1
        assert self.left(tmp_path) == {"notes.txt", "model.safetensors"}

    def test_no_folder_is_no_files(self, tmp_path: Path) -> None:
        assert Starts(tmp_path / "none").forget((), 0.0) == 0

    def test_a_file_deleted_too_early_is_asked_for_again(self, tmp_path: Path) -> None:
        starts = Starts(tmp_path)
        starts.keep(NEEDS, memoryview(DATA))
        assert starts.forget((), 0.0) == 1
        assert starts.lacks(NEEDS)
        with pytest.raises(LacksError):
            starts.read(NEEDS)
