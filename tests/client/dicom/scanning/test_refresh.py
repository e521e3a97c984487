import os
import signal
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from client.dicom.item import Location
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning import containers, refresh, walk
from client.dicom.scanning.catalog import Catalog, Entry, Known
from client.dicom.scanning.entry import place_of
from client.dicom.scanning.header import Header
from client.dicom.scanning.refresh import Changes
from shared.errors import InputError

Write = Callable[..., Path]

KEY = b"k" * 32
ROOT = Path(__file__).parents[4]


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog(tmp_path / "c.sqlite") as catalog:
        yield catalog


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the objects whose headers were read."""
    names: list[str] = []
    header = containers.header

    def read(location: Location) -> Header:
        names.append(location.member or location.path.name)
        return header(location)

    monkeypatch.setattr(containers, "header", read)
    return names


def again(archive: Path, catalog: Catalog, **others: object) -> Changes:
    return refresh.refresh(archive, catalog, key=KEY, **others)  # type: ignore[arg-type]


def places(catalog: Catalog) -> dict[str, Entry]:
    found = {}
    for entry in catalog.entries():
        place = place_of(KEY, entry)
        found[place.path + (":" + place.member if place.member else "")] = entry
    return found


def test_only_what_changed_is_read(write: Write, catalog: Catalog, archive: Path, opened: list[str]) -> None:
    paths = [write(f"{number}.dcm", number) for number in range(4)]
    assert again(archive, catalog) == Changes(read=4, unchanged=0, removed=0, files=4)
    paths[0].unlink()
    write("1.dcm", 11, Modality="CT")
    os.utime(paths[2], ns=(0, 5))
    opened.clear()
    assert again(archive, catalog) == Changes(read=2, unchanged=1, removed=1, files=3)
    assert opened == ["1.dcm", "2.dcm"]
    assert {path: entry.modality for path, entry in places(catalog).items()} == {
        "1.dcm": "CT",
        "2.dcm": "DX",
        "3.dcm": "DX",
    }


def test_an_unchanged_page_is_not_even_looked_up(
    write: Write, catalog: Catalog, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        write(f"a/{number}.dcm", number)
    write("b/9.dcm", 9)
    again(archive, catalog)
    (archive / "b" / "9.dcm").unlink()
    write("b/8.dcm", 8)
    asked: list[int] = []
    known = catalog.known

    def ask(files: list[bytes]) -> dict[bytes, Known]:
        asked.append(len(files))
        return known(files)

    monkeypatch.setattr(catalog, "known", ask)
    assert again(archive, catalog) == Changes(read=1, unchanged=3, removed=1, files=4)
    assert asked == [1]


def test_a_folder_that_went_takes_its_files_along(write: Write, catalog: Catalog, archive: Path) -> None:
    write("a/1.dcm", 1)
    write("b/2.dcm", 2)
    again(archive, catalog)
    (archive / "a").rename(archive / "c")
    assert again(archive, catalog) == Changes(read=1, unchanged=1, removed=1, files=2)
    assert sorted(places(catalog)) == ["b/2.dcm", "c/1.dcm"]


def test_a_folder_that_becomes_huge_is_not_read_again(
    write: Write, catalog: Catalog, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        write(f"{number}.dcm", number)
    again(archive, catalog)
    monkeypatch.setattr(walk, "FOLDER_LIMIT", 6)
    write("6.dcm", 6)
    assert again(archive, catalog) == Changes(read=1, unchanged=6, removed=0, files=7)
    assert again(archive, catalog) == Changes(read=0, unchanged=7, removed=0, files=7)
    (archive / "6.dcm").unlink()
    assert again(archive, catalog) == Changes(read=0, unchanged=6, removed=1, files=6)
    assert len(places(catalog)) == 6


def test_what_could_not_be_read_is_tried_again(
    write: Write, catalog: Catalog, archive: Path, opened: list[str]
) -> None:
    write("good.dcm", 1)
    path = write("bad.dcm", 2)
    path.write_bytes(path.read_bytes().replace(b"2.25.", b"\n.;/x"))
    for _ in range(3):
        opened.clear()
        again(archive, catalog)
        assert "bad.dcm" in opened
    assert opened == ["bad.dcm"]


def test_a_zip_is_a_folder(write: Write, catalog: Catalog, archive: Path, opened: list[str]) -> None:
    first, second = write("1.dcm", 1), write("2.dcm", 2)
    with zipfile.ZipFile(archive / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.write(first, "x/1")
        file.write(second, "x/2")
        file.writestr("readme.txt", "nothing")
    second.unlink()
    assert again(archive, catalog) == Changes(read=4, unchanged=0, removed=0, files=4)
    assert {path: entry.fault for path, entry in places(catalog).items()} == {
        "1.dcm": "",
        "a.zip:x/1": "",
        "a.zip:x/2": "",
        "a.zip:readme.txt": "not_dicom",
    }
    opened.clear()
    assert again(archive, catalog) == Changes(read=0, unchanged=4, removed=0, files=4)
    assert opened == []
    with zipfile.ZipFile(archive / "a.zip", "w") as file:
        file.write(first, "x/1")
    assert again(archive, catalog) == Changes(read=1, unchanged=1, removed=2, files=2)
    (archive / "a.zip").unlink()
    assert again(archive, catalog) == Changes(read=0, unchanged=1, removed=1, files=1)


def test_a_zip_alone_is_an_archive(write: Write, catalog: Catalog, tmp_path: Path) -> None:
    path = write("1.dcm", 1)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as file:
        file.write(path, "1")
    assert again(tmp_path / "all.zip", catalog) == Changes(read=1, unchanged=0, removed=0, files=1)
    (entry,) = catalog.entries()
    location = place_of(KEY, entry).location(walk.base_of(tmp_path / "all.zip"))
    assert containers.read(location, 1 << 20) == path.read_bytes()


def test_progress_counts_files_and_only_while_reading(write: Write, catalog: Catalog, archive: Path) -> None:
    told: list[tuple[int, int]] = []
    for number in range(5):
        write(f"{number // 3}/{number}.dcm", number)
    again(archive, catalog, progress=lambda done, total: told.append((done, total)))
    assert told == [(5, 5)]
    again(archive, catalog, progress=lambda done, total: told.append((done, total)))
    assert told == [(5, 5)]


def test_an_interrupted_scan_goes_on(
    write: Write, catalog: Catalog, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        write(f"{number}.dcm", number)
    monkeypatch.setattr(refresh, "CHUNK", 2)

    def stop(done: int, _: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        again(archive, catalog, progress=stop)
    assert again(archive, catalog) == Changes(read=1, unchanged=4, removed=0, files=5)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_scan_that_was_killed_goes_on(write: Write, archive: Path, tmp_path: Path, processes: int) -> None:
    for number in range(24):
        write(f"{number // 10}/{number}.dcm", number)
    program = f"""
        import sys, time
        from pathlib import Path
        from client.dicom.scanning import refresh
        from client.dicom.scanning.catalog import Catalog

        refresh.CHUNK, refresh.ALONE = 4, 1

        def told(done, total):
            print(done, flush=True)
            if done >= 12:
                time.sleep(600)

        if __name__ == "__main__":
            with Catalog(Path({str(tmp_path / "c.sqlite")!r})) as catalog:
                refresh.refresh(Path({str(archive)!r}), catalog, key=b"k" * 32, progress=told, processes={processes})
    """
    (tmp_path / "program.py").write_text(textwrap.dedent(program))
    command = [sys.executable, str(tmp_path / "program.py")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as process:
        assert process.stdout
        committed = 0
        while committed < 12:
            committed = int(process.stdout.readline())
        os.killpg(process.pid, signal.SIGKILL)
    with Catalog(tmp_path / "c.sqlite") as catalog:
        assert catalog.usable() == committed
        assert again(archive, catalog) == Changes(24 - committed, committed, 0, 24)


def test_workers_find_what_one_process_finds(
    write: Write, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        write(f"{number}.dcm", number)
    (archive / "notes.txt").write_text("nothing")
    monkeypatch.setattr(refresh, "CHUNK", 3)
    monkeypatch.setattr(refresh, "ALONE", 1)
    found = []
    for processes in (1, 2):
        with Catalog(tmp_path / f"{processes}.sqlite") as catalog:
            again(archive, catalog, processes=processes)
            found.append(list(catalog.entries()))
    assert found[0] == found[1]
    assert len(found[0]) == 21


def test_two_scans_at_once_do_the_work_once(
    write: Write, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        write(f"{number % 4}/{number}.dcm", number)
    monkeypatch.setattr(refresh, "CHUNK", 2)
    monkeypatch.setattr(refresh, "ALONE", 99)

    def one(_: int) -> Changes:
        with Catalog(tmp_path / "c.sqlite") as catalog:
            return again(archive, catalog)

    with ThreadPoolExecutor(3) as executor:
        found = list(executor.map(one, range(3)))
    assert sorted(changes.read for changes in found) == [0, 0, 40]
    with Catalog(tmp_path / "c.sqlite") as catalog:
        assert catalog.usable() == 40


def test_an_archive_without_dicom(catalog: Catalog, archive: Path) -> None:
    archive.mkdir()
    with pytest.raises(InputError, match="an empty folder"):
        again(archive, catalog)
    (archive / "x.png").write_bytes(b"\x89PNG")
    with pytest.raises(InputError, match="1 files, none of them DICOM"):
        again(archive, catalog)


def test_an_archive_that_is_not_mounted_loses_nothing(write: Write, catalog: Catalog, archive: Path) -> None:
    write("1.dcm", 1)
    again(archive, catalog)
    archive.rename(archive.with_name("elsewhere"))
    archive.mkdir()
    with pytest.raises(InputError, match="an empty folder"):
        again(archive, catalog)
    archive.rmdir()
    archive.with_name("elsewhere").rename(archive)
    assert again(archive, catalog).read == 0


def test_a_file_that_changes_while_it_is_read_is_left_out_and_read_again(
    write: Write, catalog: Catalog, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("1.dcm", 1)
    write("2.dcm", 2)
    pread = os.pread

    def change(descriptor: int, length: int, offset: int) -> bytes:
        if os.fstat(descriptor).st_ino == path.stat().st_ino:
            os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
        return pread(descriptor, length, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", change)
        again(archive, catalog)
        with pytest.raises(LeftOutError, match="changed"):
            containers.read(Location(path), 1 << 20)
    assert {path: entry.fault for path, entry in places(catalog).items()} == {"1.dcm": Reason.CHANGED, "2.dcm": ""}
    assert again(archive, catalog).read == 1
    assert catalog.usable() == 2
