import os
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from client.dicom import crew
from client.dicom.crew import Limits, cores, place, spread
from shared.errors import MisuseError, SiteError

#: What tasks do in the processes of these tests: (kind, number) → the number, if it lives to tell.
WORK = """
import os
import resource
import time
from pathlib import Path

def start(folder):
    return lambda task: work(folder, *task)

def work(folder, kind, number):
    with (folder / "calls").open("a") as calls:
        calls.write(f"{number} ")
    if kind == "crash" or (kind == "once" and not (folder / "once").exists()):
        (folder / "once").touch()
        os._exit(1)
    if kind == "abort":
        os.abort()
    if kind == "sleep":
        time.sleep(600)
    if kind == "spin":
        while True:
            pass
    if kind == "eat":
        eaten = [bytes(1 << 24)]
        while True:
            eaten.append(bytearray(eaten[0]))
    if kind == "threads":
        return " ".join(os.environ.get(name, "") for name in ("OMP_NUM_THREADS", "OPJ_NUM_THREADS")).encode()
    if kind == "core":
        return b"%d %d" % resource.getrlimit(resource.RLIMIT_CORE)
    if kind == "talk":
        os.write(1, b"PAT-4711")
        os.write(2, b"PAT-4711")
    if kind == "mistake":
        raise KeyError("PAT-4711")
    return b"%d" % number

def no_start(folder):
    os._exit(1)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    (tmp_path / "odd_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(str(tmp_path))  # spawned processes get this path, too
    yield __import__("odd_work")
    sys.modules.pop("odd_work")


def seconds(task: tuple[str, int]) -> float:
    return 1.0 if task[0] in {"sleep", "spin"} else 60.0


def answers(module: ModuleType, folder: Path, *kinds: str, limits: Limits | None = None) -> dict[int, bytes | None]:
    tasks = [(kind, number) for number, kind in enumerate(kinds)]
    limits = limits or Limits(processes=2, memory_bytes=1 << 28)
    found = list(spread(partial(module.start, folder), tasks, limits, seconds))
    assert len(found) == len(tasks)
    return {number: answer for (_, number), answer in found}


@pytest.mark.parametrize("end", ["crash", "abort", "sleep", "spin", "eat"])
def test_a_task_that_ends_its_process_costs_itself_only(module: ModuleType, tmp_path: Path, end: str) -> None:
    kinds = ["ok", "ok", end, "ok", "ok"]
    assert answers(module, tmp_path, *kinds) == {0: b"0", 1: b"1", 2: None, 3: b"3", 4: b"4"}
    # it had a second try; nobody else was given up or needed more than one to be done
    calls = Counter((tmp_path / "calls").read_text().split())
    assert calls == {"0": 1, "1": 1, "2": 2, "3": 1, "4": 1}


def test_one_that_was_ended_from_outside_is_done_again(module: ModuleType, tmp_path: Path) -> None:
    assert answers(module, tmp_path, "ok", "once", "ok") == {0: b"0", 1: b"1", 2: b"2"}


def test_no_more_processes_than_asked_for(module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    start = crew._Worker.__init__

    def counted(self: crew._Worker, *arguments: object) -> None:
        started.append(1)
        start(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(crew._Worker, "__init__", counted)
    many = answers(module, tmp_path, *["ok"] * 40, limits=Limits(processes=1))
    assert many == {number: b"%d" % number for number in range(40)}
    assert len(started) == 1
    assert answers(module, tmp_path) == {}
    assert len(started) == 1
    assert Limits().processes == cores() == len(os.sched_getaffinity(0))


def test_a_worker_uses_one_thread_and_keeps_its_words_to_itself(
    module: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert answers(module, tmp_path, "threads", "talk", "core") == {0: b"1 1", 1: b"1", 2: b"0 0"}
    assert capfd.readouterr() == ("", "")


def test_a_mistake_of_ours_is_told_without_its_words(module: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match=r"KeyError in odd_work.py, line 35") as caught:
        answers(module, tmp_path, "ok", "mistake", "ok")
    assert "4711" not in str(caught.value)


def test_processes_that_cannot_start_are_an_error_and_no_endless_loop(module: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SiteError, match="a process that ended at its start"):
        list(spread(partial(module.no_start, tmp_path), [1, 2, 3], Limits(processes=2)))


def test_who_stops_listening_leaves_no_process(module: ModuleType, tmp_path: Path) -> None:
    running = spread(partial(module.start, tmp_path), [("ok", 1), ("sleep", 2)], Limits(processes=2))
    next(running)
    before = {process.pid for process in crew.get_context("spawn").active_children() if process.pid}  # type: ignore[attr-defined]
    assert before
    running.close()  # type: ignore[attr-defined]
    assert not [pid for pid in before if Path(f"/proc/{pid}").exists()]


def test_place_names_type_and_line_only() -> None:
    try:
        raise ValueError("PAT-4711")
    except ValueError as error:
        assert place(error).startswith("ValueError in test_crew.py, line ")
