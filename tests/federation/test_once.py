"""A plan is answered once: a hospital killed between any two statements never gives a second, different answer.

The hospital serves one request in a process that ends itself, as kill -9 would, before the k-th line of its own code
that it executes; for every k until it gets through. Each time a fresh process serves what is on the disk then.
"""

import multiprocessing
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
import pytest
from msgspec.structs import replace

import client.contributing
import client.doing
import client.rounds
import client.site
import client.survivors
import client.workbench
import shared.database
import shared.secagg.member
from client import steps
from client.home import Home
from client.ledger import Ledger
from client.site import Site
from client.steps import Outcome
from client.workbench import Workbench, prepare_for
from shared.messages.replies import Answered, AnyReply, Confirmed, Contributed, Refused, read_reply
from shared.messages.requests import AnyRequest, Confirm, Step, Unmask
from shared.messages.tasks import Task, TrainTask
from shared.network import network_of
from shared.parameters import layout_of
from shared.secagg.messages import ConfirmRequest
from shared.study import Study
from shared.update import Codec
from shared.wire import pack
from simulations.attacker import SURVEY, Attacker
from simulations.local import LocalFederation
from simulations.strikes import NAMES, TWO, VICTIM

POLICY = (
    '[privacy]\nleast = "off"\nepsilon_total = 100.0\nepsilon_per_study = 100.0\n'
    "[aggregation]\nmin_cohort = 2\ncolluders = 0\n[studies]\nask = false\n"
)
#: What a hospital remembers; all else in its home does not change here.
FILES = ("rounds.sqlite*", "ledger.sqlite*", "audit.jsonl")
#: The code between whose statements the hospital dies; and what else it dies in where that is quick to get through.
CODE = tuple(
    str(module.__file__)
    for module in (client.rounds, client.site, client.contributing, client.survivors, shared.database)
)
PURE = (str(shared.secagg.member.__file__),)
FORK = multiprocessing.get_context("fork")


class Remembered(NamedTuple):
    """What a hospital has on disk of one plan: the stored replies, and the survivors it settled on."""

    reply: bytes | None = None
    settled: str | None = None
    confirmation: bytes | None = None
    answer: bytes | None = None


@dataclass(frozen=True)
class Bench:
    """Alder's home, and a copy of what it remembered before the request."""

    home: Home
    saved: Path
    attacker: Attacker

    def save(self) -> None:
        shutil.rmtree(self.saved, ignore_errors=True)
        self.saved.mkdir()
        for path in self._files():
            shutil.copy2(path, self.saved)

    def restore(self) -> None:
        for path in self._files():
            path.unlink()
        for path in self.saved.iterdir():
            shutil.copy2(path, self.home.path)

    def ask(self, body: AnyRequest) -> AnyReply:
        """What the hospital answers after a fresh start."""
        return read_reply(Site(self.home).handle(self.attacker.request(body)))

    def deaths(self, body: AnyRequest, code: Collection[str] = CODE) -> Iterator[int]:
        """Serve `body` from the saved state and die before the k-th line; each k, until there are no more lines."""
        request, line = self.attacker.request(body), 0
        while True:
            line += 1
            self.restore()
            if not killed(line, code, lambda: Site(self.home).handle(request)):
                return
            yield line

    def remembered(self, plan: bytes) -> Remembered:
        with closing(sqlite3.connect(self.home.path / "rounds.sqlite")) as db:
            query = "SELECT reply, settled, confirmation, answer FROM plan WHERE plan = ?"
            row = db.execute(query, (plan,)).fetchone()
        return Remembered(*(row or ()))

    @property
    def charges(self) -> int:
        return len(Ledger(self.home.path / "ledger.sqlite").events(self.attacker.run))

    def _files(self) -> list[Path]:
        return [path for pattern in FILES for path in self.home.path.glob(pattern)]


def killed(line: int, code: Collection[str], work: Callable[[], object]) -> bool:
    """Whether a process of its own that does `work` died before its `line`-th line of `code`, or got through."""
    child = os.fork()
    if child == 0:
        try:
            sys.settrace(assassin(line, code))
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def assassin(line: int, code: Collection[str]) -> Callable[[FrameType, str, Any], Any]:
    """A trace function that ends its process before the `line`-th line of `code`: nothing is cleaned up or flushed."""
    left = line

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if frame.f_code.co_filename not in code:
            return None
        if event == "line":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    return trace


@pytest.fixture(scope="module")
def local(template: Path, tmp_path_factory: pytest.TempPathFactory) -> LocalFederation:
    folder = tmp_path_factory.mktemp("once")
    for part in ("federation", "sites"):
        shutil.copytree(template / part, folder / part)
    local = LocalFederation(folder, NAMES)
    for name in NAMES:
        (local.home(name).path / "policy.toml").write_text(POLICY)
    return local


@pytest.fixture
def attacker(local: LocalFederation, private: Study, request: pytest.FixtureRequest) -> Attacker:
    """In a run of its own that all have joined."""
    sites = dict(zip(local.names, local.sites(), strict=True))
    return Attacker(local.federation, sites, private, request.node.name).join_all()


def bench_of(local: LocalFederation, attacker: Attacker) -> Bench:
    """Alder as it stands now; no process serves it any more."""
    attacker.sites = {name: site for name, site in attacker.sites.items() if name != VICTIM}
    bench = Bench(local.home(VICTIM), local.folder / "saved", attacker)
    bench.save()
    return bench


# Steps 2 and 3


@dataclass(frozen=True)
class Asked:
    """A survey that all have answered: the honest requests to alder, and one to confirm two survivors only."""

    plan: bytes
    confirm: Confirm
    unmask: Unmask
    confirm_two: Confirm

    def whole(self, step: str) -> Confirm | Unmask:
        return self.confirm if step == "confirm" else self.unmask


@pytest.fixture
def asked(attacker: Attacker) -> Asked:
    """Birch and cedar have confirmed all three, alder nothing."""
    plan = attacker.plan(SURVEY)
    closed = attacker.contributions(SURVEY, plan, NAMES)
    settled = attacker.settled(SURVEY, plan, NAMES, confirmers=NAMES[1:])
    two = ConfirmRequest(plan=plan.digest(), site=VICTIM, survivors=TWO)
    return Asked(
        plan=plan.digest(),
        confirm=Confirm(request=closed.ask_confirm(VICTIM)),
        unmask=Unmask(request=settled.request(VICTIM)),
        confirm_two=Confirm(request=pack(two)),
    )


@pytest.mark.parametrize("step", ["confirm", "unmask"])
def test_a_hospital_killed_at_any_line_stays_with_one_set_of_survivors(
    local: LocalFederation, attacker: Attacker, asked: Asked, step: str
) -> None:
    """After each death two are asked for first: where nothing was stored they may be the ones, and then only they."""
    bench, whole = bench_of(local, attacker), asked.whole(step)
    before = bench.remembered(asked.plan)
    seen: set[bytes | None] = set()
    for _ in bench.deaths(whole, CODE + PURE):
        after = bench.remembered(asked.plan)
        stored = after.confirmation if step == "confirm" else after.answer
        seen.add(stored)
        assert (after == before) == (stored is None), "all of it is on disk, or nothing"
        two = bench.ask(asked.confirm_two)
        again = bench.ask(whole)
        if stored is None:
            assert isinstance(two, Confirmed)
            assert isinstance(again, Refused)
        else:
            assert isinstance(two, Refused)
            assert again == (Confirmed(confirmation=stored) if step == "confirm" else Answered(answer=stored))
    assert len(seen) == 2, "it died before and after it stored its one answer"
    assert bench.ask(whole) == bench.ask(whole)


@pytest.mark.parametrize("step", ["confirm", "unmask"])
def test_of_two_processes_asked_for_different_survivors_one_wins(
    local: LocalFederation, attacker: Attacker, asked: Asked, step: str
) -> None:
    bench, whole = bench_of(local, attacker), asked.whole(step)
    for _ in range(10):
        bench.restore()
        replies = at_once(bench, [whole, asked.confirm_two])
        assert sorted(isinstance(reply, Refused) for reply in replies) == [False, True]
        assert [bench.ask(body) for body in (whole, asked.confirm_two)] == replies


def at_once(bench: Bench, bodies: list[AnyRequest]) -> list[AnyReply]:
    """What the hospital answers to each, each in a process of its own, all starting together."""
    start, pipes = FORK.Barrier(len(bodies)), [FORK.SimpleQueue() for _ in bodies]

    def work(number: int) -> None:
        site, request = Site(bench.home), bench.attacker.request(bodies[number])
        start.wait(60)
        pipes[number].put(site.handle(request))

    processes = [FORK.Process(target=work, args=(number,)) for number in range(len(bodies))]
    for process in processes:
        process.start()
    replies = [read_reply(pipe.get()) for pipe in pipes]
    for process in processes:
        process.join(60)
    return replies


# Step 1


@dataclass(frozen=True)
class Trainings:
    """Training in no time, different each time; how often is counted over all processes."""

    log: Path

    def train(self, study: Study, _task: TrainTask, asked: steps.Asked, _bench: Workbench, *, seed: int) -> Outcome:
        with self.log.open("ab") as file:
            file.write(b".")
        size = layout_of(network_of(study)).moving
        codec = Codec.of(study, cohort=asked.cohort, parameters=size, seed=asked.payload)
        update = np.frombuffer(os.urandom(codec.parameters), np.uint8).astype(np.float32)
        update /= np.float32(np.linalg.norm(update))
        return Outcome(codec.write(update, 1, study.federation.max_images, scaled=False))

    @property
    def count(self) -> int:
        return self.log.stat().st_size if self.log.exists() else 0


@pytest.fixture
def trainings(local: LocalFederation, private: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trainings:
    prepared = prepare_for(local.home(VICTIM), private)
    found = Trainings(tmp_path / "trainings")
    monkeypatch.setattr(client.workbench, "prepare_for", lambda *_: prepared)
    monkeypatch.setattr(client.doing, "train_round", found.train)
    return found


def step(attacker: Attacker, task: TrainTask) -> Step:
    return Step(plan=attacker.plan(task), payload=memoryview(pack(Task(body=task))))


def test_a_hospital_killed_at_any_line_while_it_trains_answers_one_plan_with_one_vector(
    local: LocalFederation, attacker: Attacker, trainings: Trainings
) -> None:
    """After each death, on even lines a plan of another model is asked for first, in the place of the first one."""
    task = attacker.train_task()
    plan, other = step(attacker, task), step(attacker, replace(task, weights=memoryview(bytes(len(task.weights)))))
    bench, key = bench_of(local, attacker), plan.plan.digest()
    before, charged, trained, seen = bench.remembered(key), bench.charges, 0, set()
    for line in bench.deaths(plan):
        after, charges, worked = bench.remembered(key), bench.charges - charged, trainings.count - trained
        seen.add((after.reply is not None, charges, worked))
        assert worked <= charges <= 1, "charged before it trained"
        assert (after == before) == (after.reply is None), "all of it is on disk, or nothing"
        others = bench.ask(other) if line % 2 == 0 else None
        first, second = bench.ask(plan), bench.ask(plan)
        assert first == second
        if after.reply is not None:
            assert first == read_reply(after.reply)
            assert others is None or isinstance(others, Refused)
            assert (bench.charges - charged, trainings.count - trained) == (1, 1), (
                "no second training, no second charge"
            )
        elif others is not None:
            assert isinstance(others, Contributed)
            assert isinstance(first, Refused), "another plan has its place"
            assert bench.charges - charged == charges + 1
        else:
            assert isinstance(first, Contributed)
            assert bench.charges - charged == 1, "one charge for the one vector that left"
            assert trainings.count - trained == worked + 1
        trained = trainings.count
    assert seen == {(False, 0, 0), (False, 1, 0), (False, 1, 1), (True, 1, 1)}
