"""The store: whole or not there, never by a name from outside, never over another content."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from client.dicom.reasons import LeftOutError
from client.dicom.scanning.header import read_header
from client.dicom.sources.store import DRAFT, Kept, RefusedError, Store, Why, is_uid
from tests.client.dicom.sources.peers import KEY, files, image

Encode = Callable[[Dataset], bytes]


@pytest.fixture
def data(encoded: Encode) -> bytes:
    return encoded(image("PAT-A", "1", 1))


def test_the_bytes_are_those_received(store: Store, data: bytes) -> None:
    kept = store.keep([data[:7], data[7:200], data[200:]])
    assert kept == Kept(store.sop(str(image("PAT-A", "1", 1).SOPInstanceUID)), kept.series, len(data))
    (path,) = files(store)
    assert path.read_bytes() == data
    assert path == store.folder / kept.series[:2] / kept.series / f"{kept.sop}.dcm"
    assert oct(path.stat().st_mode)[-3:] == "600"


def test_no_name_on_disk_comes_from_outside(store: Store, data: bytes) -> None:
    store.keep([data])
    dataset = dcmread(files(store)[0])
    shown = str(files(store)[0].relative_to(store.folder))
    for value in (dataset.SOPInstanceUID, dataset.SeriesInstanceUID, dataset.StudyInstanceUID, "PAT-A", "Secret"):
        assert str(value) not in shown
    other = Store(store.folder.with_name("other"), b"x" * 32, floor=0)
    assert other.keep([data]).sop != store.keep([data]).sop


def test_the_same_object_again_is_the_same_file(store: Store, data: bytes) -> None:
    first, again = store.keep([data]), store.keep([data])
    assert (first.again, again.again, again.beside) == (False, True, False)
    assert len(files(store)) == 1
    assert Store(store.folder, KEY, floor=0).keep([data]).again


def test_who_wrote_the_meta_information_does_not_matter(store: Store, encoded: Encode) -> None:
    dataset = image("PAT-A", "1", 1)
    one, other = encoded(dataset), encoded(dataset).replace(b"KONSIL_1", b"OTHERS_2")
    assert one != other
    store.keep([one])
    assert store.keep([other]).again
    assert len(files(store)) == 1


def test_another_content_under_the_same_uid_is_kept_beside(store: Store, encoded: Encode) -> None:
    contents = [encoded(image("PAT-A", "1", 1, PatientSex=sex)) for sex in "OFM"]
    kept = [store.keep([content]) for content in contents]
    assert [one.beside for one in kept] == [False, True, True]
    assert {path.read_bytes() for path in files(store)} == set(contents)
    assert store.keep([contents[1]]) == Kept(kept[1].sop, kept[1].series, len(contents[1]), again=True, beside=True)
    series = str(image("PAT-A", "1", 1).SeriesInstanceUID)
    assert store.held(series) == {kept[0].sop}, "one object, however many contents"


def test_what_the_disk_spoiled_is_replaced(store: Store, data: bytes) -> None:
    store.keep([data])
    (path,) = files(store)
    path.write_bytes(data[:300])
    assert not store.keep([data]).again
    assert path.read_bytes() == data


def test_held_are_the_whole_objects_of_a_series(store: Store, encoded: Encode) -> None:
    first, second, other = image("PAT-A", "1", 1), image("PAT-A", "1", 2), image("PAT-A", "2", 1)
    assert store.held(str(first.SeriesInstanceUID)) == frozenset()
    for dataset in (first, second, other):
        store.keep([encoded(dataset)])
    assert store.held(str(first.SeriesInstanceUID)) == {store.sop(str(one.SOPInstanceUID)) for one in (first, second)}


@pytest.mark.parametrize("length", [0, 1, 131, 132, 200, 400])
def test_half_an_object_is_refused_and_nothing_of_it_stays(store: Store, data: bytes, length: int) -> None:
    with pytest.raises(RefusedError) as refused:
        store.keep([data[:length]])
    assert refused.value.why is Why.MALFORMED
    assert files(store) == []


def test_an_object_without_its_last_pixel_is_refused(store: Store, data: bytes) -> None:
    with pytest.raises(RefusedError, match="not all of one"):
        store.keep([data[:-2]])
    assert files(store) == []


def test_a_sender_that_breaks_off_leaves_nothing(store: Store, data: bytes) -> None:
    def broken() -> Iterator[bytes]:
        yield data[:-10]
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        store.keep(broken())
    assert files(store) == []


def test_no_scan_takes_a_draft_for_an_object(store: Store, encoded: Encode) -> None:
    """Look at what a kill would leave, after every chunk: up to all bytes but the first."""
    data = encoded(image("PAT-A", "1", 1, Rows=256, Columns=256, PixelData=bytes(2 * 256 * 256)))
    seen = []

    def chunks() -> Iterator[bytes]:
        for first in range(0, len(data), 1 << 14):
            yield data[first : first + (1 << 14)]
            (draft,) = files(store)
            with pytest.raises(LeftOutError):
                read_header(draft)
            seen.append(draft.stat().st_size)
            assert draft.name.startswith(DRAFT)

    store.keep(chunks())
    assert seen[-1] > len(data) // 2, "there was something to be mistaken"


def test_drafts_of_the_dead_are_swept_and_those_of_the_living_are_not(store: Store) -> None:
    old, young = store.folder / f"{DRAFT}old", store.folder / f"{DRAFT}young"
    old.write_bytes(b"x")
    young.write_bytes(b"x")
    os.utime(old, (1, 1))
    Store(store.folder, KEY)
    assert files(store) == [young]


@pytest.mark.parametrize("uid", ["../../x", "1.2/3", "", "1..2", ".1", "1.2.", "1" * 65, "1.2\n", "١.٢", "1.2 "])
def test_what_is_no_uid(uid: str) -> None:
    assert not is_uid(uid)


@pytest.mark.parametrize("uid", ["1", "1.2.840.10008.1.2", "0.01", "1" * 64])
def test_what_is_a_uid(uid: str) -> None:
    assert is_uid(uid)


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"])
def test_a_hostile_uid_is_refused(store: Store, encoded: Encode, keyword: str) -> None:
    dataset = image("PAT-A", "1", 1)
    good = str(dataset[keyword].value)
    hostile = "../../../../../../tmp/x".ljust(len(good) - 1, "x").encode()
    data = encoded(dataset).replace(good.encode(), hostile.ljust(len(good), b"\0"))
    with pytest.raises(RefusedError, match="no DICOM object"):
        store.keep([data])
    assert files(store) == []


def test_an_object_is_the_one_it_was_announced_as(store: Store, data: bytes) -> None:
    dataset = image("PAT-A", "1", 1)
    named = {"sop_class": str(dataset.SOPClassUID), "sop_uid": str(dataset.SOPInstanceUID)}
    for wrong in ({"sop_class": "1.2"}, {"sop_uid": "1.2"}, {"wanted": {"another"}}):
        with pytest.raises(RefusedError) as refused:
            store.keep([data], **named | wrong)
        assert refused.value.why is Why.MISMATCH
    assert files(store) == []
    store.keep([data], **named, wanted={store.sop(named["sop_uid"])})


def test_an_object_above_the_limit_is_refused_without_reading_on(tmp_path: Path, data: bytes) -> None:
    store = Store(tmp_path / "received", KEY, largest=len(data) - 1, floor=0)

    def endless() -> Iterator[bytes]:
        while True:
            yield data

    with pytest.raises(RefusedError) as refused:
        store.keep(endless())
    assert refused.value.why is Why.TOO_LARGE
    assert files(store) == []
    Store(tmp_path / "exact", KEY, largest=len(data), floor=0).keep([data])


def test_nothing_is_kept_below_the_floor_of_free_disk(tmp_path: Path, data: bytes) -> None:
    store = Store(tmp_path / "received", KEY, floor=1 << 62)
    with pytest.raises(RefusedError) as refused:
        store.keep([data])
    assert refused.value.why is Why.DISK


def test_a_disk_that_does_not_take_it(store: Store, data: bytes) -> None:
    series = Store(store.folder.with_name("other"), KEY, floor=0).keep([data]).series
    (store.folder / series[:2]).write_bytes(b"")  # a file where a folder has to be
    with pytest.raises(RefusedError) as refused:
        store.keep([data])
    assert refused.value.why is Why.DISK
    assert [path.name for path in files(store)] == [series[:2]]


def test_file_then_name_then_folder_reach_the_disk(store: Store, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order that survives a power cut: the content before the name, the name before success."""
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def syncing(handle: int) -> None:
        fsync(handle)
        steps.append("folder" if Path(f"/proc/self/fd/{handle}").resolve().is_dir() else "file")

    def replacing(path: Path, target: Path) -> Path:
        assert path.read_bytes() == data
        steps.append("name")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", syncing)
    monkeypatch.setattr(Path, "replace", replacing)
    store.keep([data])
    assert steps == ["file", "folder", "folder", "name", "folder"]  # the middle ones: two new folders in theirs


def test_many_at_once_lose_nothing(store: Store, encoded: Encode) -> None:
    contents = [encoded(image("PAT-A", "1", 1, PatientSex=sex)) for sex in "OFM"]
    barrier = threading.Barrier(12)

    def keep(number: int) -> None:
        barrier.wait()
        store.keep([contents[number % 3]])

    threads = [threading.Thread(target=keep, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {path.read_bytes() for path in files(store)} == set(contents)
    assert len(files(store)) == 3


def test_refusals_and_reprs_name_nobody(store: Store, data: bytes) -> None:
    with pytest.raises(RefusedError) as refused:
        store.keep([data], sop_uid="1.2")
    shown = repr(refused.value) + str(refused.value) + repr(store.keep([data]))
    assert "PAT-A" not in shown
    assert str(image("PAT-A", "1", 1).SOPInstanceUID) not in shown
