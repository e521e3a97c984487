"""The queue, with Flower replaced by a list of runs that live and die as the test says."""

from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from server.conductor import MOST_STARTS, STARTING_S, Conductor
from server.control import FlowerNode
from server.federation import create
from server.history import History
from server.home import ServerHome
from server.turn import LOCK, held
from shared.study import MINIMAL, parse_study

STUDY = parse_study(MINIMAL)


class FakeFlower:
    """Flower's runs by number, from 0: the Konsil run of each, and which are over."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.ended: set[int] = set()
        self.away = False

    def nodes(self) -> tuple[FlowerNode, ...]:
        if self.away:
            raise httpx.ConnectError("away")
        return ()

    def start(self, run: str) -> int:
        self.started.append(run)
        return len(self.started) - 1

    def over(self, number: int) -> bool:
        return number in self.ended

    def stop(self, number: int) -> None:
        self.ended.add(number)


class Queue:
    """A conductor on a clock of its own; `process` is a ServerApp that conducts."""

    def __init__(self, path: Path) -> None:
        create(path).enroll({})
        self.home, self.flower, self.now = ServerHome(path), FakeFlower(), 0.0
        self.history = History(self.home.history)
        self.conductor = Conductor(self.home)

    def enqueue(self, run: str) -> None:
        (self.home.runs / run).mkdir(parents=True)
        self.history.enqueue(run, STUDY)

    def tick(self) -> list[str]:
        self.now += 1.0
        self.conductor.tick(self.flower)  # type: ignore[arg-type]
        return self.flower.started

    def process(self, run: str) -> ExitStack:
        """Conducts `run` until closed."""
        stack = ExitStack()
        stack.enter_context(held(self.home.runs / run / LOCK))
        self.history.start(run)
        return stack


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Queue:
    found = Queue(tmp_path)
    monkeypatch.setattr("server.conductor.time", SimpleNamespace(monotonic=lambda: found.now))
    return found


def test_one_run_at_a_time_in_their_order(queue: Queue) -> None:
    queue.enqueue("a")
    queue.enqueue("b")
    assert queue.tick() == ["a"]
    assert queue.tick() == ["a"]  # starting
    with queue.process("a"):
        assert queue.tick() == ["a"]
        queue.history.end("a", "finished", "")
    assert queue.tick() == ["a", "b"]


def test_a_died_process_is_replaced(queue: Queue) -> None:
    queue.enqueue("a")
    queue.tick()
    with queue.process("a"):
        queue.tick()
    assert queue.tick() == ["a", "a"]
    assert queue.flower.ended == {0}


def test_a_start_that_comes_to_nothing_is_tried_again(queue: Queue) -> None:
    queue.enqueue("a")
    queue.tick()
    queue.now += STARTING_S
    assert queue.tick() == ["a", "a"]  # Flower never started it
    queue.flower.ended.add(1)
    assert queue.tick() == ["a", "a", "a"]  # it ended before it began


def test_six_starts_without_a_round_are_enough_and_a_person_may_try_again(queue: Queue) -> None:
    queue.enqueue("a")
    queue.enqueue("b")
    for number in range(MOST_STARTS):
        assert queue.tick() == ["a"] * (number + 1)
        queue.process("a").close()
        queue.flower.ended.add(number)
    queue.tick()
    line = queue.history.run("a")
    assert (line.state, line.because) == ("failed", "its process died 6 times without finishing a round")
    assert queue.tick() == ["a"] * MOST_STARTS + ["b"]
    with queue.process("b"):
        queue.history.end("b", "finished", "")
    queue.history.requeue("a")
    assert queue.tick()[-1] == "a"


def test_a_failed_run_is_resumed_from_zero_tries(queue: Queue) -> None:
    queue.enqueue("a")
    for number in range(MOST_STARTS):
        queue.tick()
        queue.process("a").close()
        queue.flower.ended.add(number)
    queue.tick()
    assert queue.history.run("a").state == "failed"
    queue.tick()
    queue.history.requeue("a")
    assert queue.tick() == ["a"] * (MOST_STARTS + 1)


def test_a_cancelled_run_is_stopped_even_if_its_process_is_gone(queue: Queue) -> None:
    queue.enqueue("a")
    queue.enqueue("b")
    queue.tick()
    queue.history.cancel("a")
    assert queue.tick() == ["a", "b"]
    assert queue.flower.ended == {0}


def test_a_coordinator_that_starts_again_finds_the_living_process(queue: Queue) -> None:
    queue.enqueue("a")
    with queue.process("a"):
        assert queue.tick() == []
    assert queue.tick() == ["a"]


def test_a_run_whose_folder_is_gone_does_not_stop_the_queue(queue: Queue) -> None:
    queue.enqueue("a")
    queue.enqueue("b")
    (queue.home.runs / "a").rmdir()
    for number in range(MOST_STARTS):
        queue.tick()
        queue.flower.ended.add(number)
    queue.tick()
    assert queue.history.run("a").state == "failed"
    assert queue.tick()[-1] == "b"


def test_a_superlink_that_is_away_is_the_callers_to_wait_for(queue: Queue) -> None:
    queue.enqueue("a")
    queue.flower.away = True
    with pytest.raises(httpx.HTTPError):
        queue.tick()
    queue.flower.away = False
    queue.now += 10
    assert queue.tick() == ["a"]
