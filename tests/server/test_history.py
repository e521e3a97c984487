import logging
import math
import multiprocessing
import sqlite3
import threading
from pathlib import Path

import pytest

from server import observer as seen
from server.history import _KINDS, Diary, History, State
from shared.errors import InputError, OperatorError
from shared.study import MINIMAL, parse_study, study_hash

STUDY = parse_study(MINIMAL)
EVENTS: tuple[seen.Event, ...] = (
    seen.RunStarted("a", "minimal", 3, 2),
    seen.SiteJoined("north"),
    seen.SiteLeft("east", "train", "<script>\x00\u202e disk 'full'; DROP TABLE run"),
    seen.RoundStarted(1),
    seen.StepProgress(1, "train", 2, 3),
    seen.RoundFinished(1, None, {"north": math.inf, "city": 0.5}, ("city", "north"), 1.5),
    seen.RunFinished("stopped", "two hospitals are left"),
)


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "history.sqlite")


def test_a_run_from_queued_to_finished(history: History) -> None:
    history.enqueue("a", STUDY)
    line = history.run("a")
    assert (line.study, line.study_hash, line.state, line.starts) == ("minimal", study_hash(STUDY).hex(), "queued", 0)
    assert line.created.endswith("Z") and (line.started, line.ended) == ("", "")
    assert (history.start("a"), history.start("a")) == (1, 2)
    assert history.run("a").state == "running"
    history.end("a", "finished", "")
    assert history.run("a").ended >= history.run("a").started


def test_the_interrupted_run_comes_before_the_oldest_queued_one(history: History) -> None:
    assert history.next() is None
    for run in ("a", "b", "c"):
        history.enqueue(run, STUDY)
    history.start("b")
    order = []
    while found := history.next():
        order.append(found.run)
        history.start(found.run)
        history.end(found.run, "failed", "x")
    assert order == ["b", "a", "c"]
    assert [line.run for line in history.runs()] == ["c", "b", "a"]


def test_a_stopped_run_may_be_started_again_and_forgets_its_end(history: History) -> None:
    history.enqueue("a", STUDY)
    history.start("a")
    history.end("a", "stopped", "too few")
    first = history.run("a").started
    assert history.start("a") == 2
    line = history.run("a")
    assert (line.started, line.ended, line.because) == (first, "", "")


@pytest.mark.parametrize("state", ["finished", "cancelled"])
def test_what_is_over_is_not_started(history: History, state: State) -> None:
    history.enqueue("a", STUDY)
    history.start("a")
    history.end("a", state, "")
    with pytest.raises(InputError, match=f"expected a queued or running or stopped or failed run, got a {state} one"):
        history.start("a")
    with pytest.raises(InputError, match=f"got a {state} one"):
        history.cancel("a")


@pytest.mark.parametrize("state", ["finished", "stopped", "queued"])
def test_a_queued_run_cannot_end_like_a_running_one(history: History, state: State) -> None:
    history.enqueue("a", STUDY)
    with pytest.raises(InputError, match="got a queued one"):
        history.end("a", state, "")
    assert history.run("a").state == "queued"


def test_a_cancelled_run_stays_cancelled_when_its_process_ends(history: History) -> None:
    history.enqueue("a", STUDY)
    history.start("a")
    history.cancel("a")
    history.end("a", "finished", "")
    history.end("a", "cancelled", "")
    assert (history.run("a").state, history.run("a").because) == ("cancelled", "cancelled by the operator")
    assert history.next() is None


@pytest.mark.parametrize("name", ["", "../a", "a/b", "a.b", "-a", "a" * 129, "a\n", "ä"])
def test_a_name_that_is_no_folder_is_refused(history: History, name: str) -> None:
    with pytest.raises(InputError, match="letters, digits and dashes"):
        history.enqueue(name, STUDY)


def test_a_run_is_there_once_and_an_unknown_one_is_named(history: History) -> None:
    history.enqueue("a", STUDY)
    with pytest.raises(InputError, match="run a: expected a new name"):
        history.enqueue("a", STUDY)
    for act in (history.run, history.start, history.cancel):
        with pytest.raises(InputError, match="run b: expected a run of this coordinator"):
            act("b")
    with pytest.raises(InputError, match="run b"):
        history.record("b", EVENTS[1])


def test_every_event_comes_back_as_it_was(history: History, tmp_path: Path) -> None:
    assert {type(event) for event in EVENTS} == set(_KINDS.values())
    history.enqueue("a", STUDY)
    diary = Diary(history, "a")
    for event in EVENTS:
        diary.notice(event)
    found = History(tmp_path / "history.sqlite").events("a")
    assert tuple(moment.event for moment in found) == EVENTS
    assert history.events("a", after=found[-2].id) == found[-1:]
    assert history.events("b") == ()


def test_only_the_last_progress_of_a_step_is_kept_and_it_is_new(history: History) -> None:
    history.enqueue("a", STUDY)
    for answered in range(4):
        history.record("a", seen.StepProgress(1, "train", answered, 3))
    last = history.events("a")[-1].id
    history.record("a", seen.StepProgress(1, "train", 3, 3))
    history.record("a", seen.StepProgress(1, "evaluate", 1, 3))
    assert len(history.events("a")) == 2
    assert len(history.events("a", after=last)) == 2


@pytest.mark.parametrize(
    "stored",
    [
        b'{"kind": "os.system", "event": {"command": "id"}}',
        b'{"kind": "site_joined", "event": {"site": 3}}',
        b'{"kind": "site_joined", "event": {"site": "a"}, "more": 1}',
        b'{"kind": "round_finished", "event": []}',
        b'{"kind": "round_finished", "event": {"epsilon": 3}}',
        b"\xff",
    ],
)
def test_a_stored_event_outside_the_registry_is_an_error(history: History, tmp_path: Path, stored: bytes) -> None:
    history.enqueue("a", STUDY)
    with sqlite3.connect(tmp_path / "history.sqlite") as db:
        db.execute("INSERT INTO event (run, at, event) VALUES ('a', '', ?)", (stored,))
    with pytest.raises(OperatorError, match="event 1 of the history: expected an event as Konsil writes it"):
        history.events("a")


def test_a_diary_never_raises(history: History, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        Diary(history, "nowhere").notice(EVENTS[1])
    assert "run nowhere: site_joined was not recorded" in caplog.text


def _fill(path: Path, site: str) -> None:
    diary = Diary(History(path), "a")
    for _ in range(20):
        diary.notice(seen.SiteJoined(site))


def test_processes_and_threads_write_the_same_history(history: History, tmp_path: Path) -> None:
    history.enqueue("a", STUDY)
    path = tmp_path / "history.sqlite"
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=_fill, args=(path, f"p{k}")) for k in range(2)]
    threads = [threading.Thread(target=lambda: history.record("a", seen.SiteJoined("t"))) for _ in range(5)]
    for process in workers:
        process.start()
    for thread in threads:
        thread.start()
    for process in workers:
        process.join()
    for thread in threads:
        thread.join()
    assert len(history.events("a")) == 45


def test_the_file_is_its_users_only(history: History, tmp_path: Path) -> None:
    history.runs()
    assert (tmp_path / "history.sqlite").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "data", [b'{"kind":"\xff"}', b'{"kind":"site_joined","event":' + b"[" * 9000 + b"]" * 9000 + b"}"]
)
def test_an_event_that_nobody_wrote_is_a_clear_error(history: History, tmp_path: Path, data: bytes) -> None:
    history.enqueue("a", STUDY)
    Diary(history, "a").notice(seen.SiteJoined("north"))
    db = sqlite3.connect(tmp_path / "history.sqlite")
    with db:
        db.execute("UPDATE event SET event = ?", (data,))
    db.close()
    with pytest.raises(OperatorError, match="event 1 of the history"):
        history.events("a")
