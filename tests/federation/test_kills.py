"""Hospitals and the coordinator killed between any two steps, and hospitals that answer nonsense: the run goes on."""

import multiprocessing
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

import client.doing
import client.survivors
import server.attempts
from client.audit import Audit
from client.home import Home
from client.ledger import Ledger
from client.rounds import Rounds
from client.site import Site
from client.steps import Outcome, train_round
from server.aggregate import Aggregator
from server.checkpoints import Checkpoints
from server.observer import Event, RoundFinished, StepProgress
from shared.evaluated import evaluated_length
from shared.messages.replies import Answered, Contributed, Refused, read_reply, write_reply
from shared.messages.requests import Step, Unmask, read_request
from shared.messages.shown import OwnFigures, Shown
from shared.messages.tasks import AnyTask, Task
from shared.messages.version import VERSION
from shared.secagg.member import Masked, Plain, contribute, unmask
from shared.secagg.messages import ANSWER_LABEL, UnmaskAnswer, UnmaskRequest, answer_parts
from shared.secagg.plan import Plan
from shared.study import Study
from shared.tasks.registry import kind_of
from shared.wire import pack, unpack
from simulations.attacker import SURVEY, Attacker
from simulations.faults import Fault, LocalLink, Moment, lost, reply_lost
from simulations.local import LocalFederation, Recorder

OPEN = (
    '[privacy]\nleast = "off"\nepsilon_total = 100.0\nepsilon_per_study = 100.0\n'
    "[aggregation]\nmin_cohort = 2\ncolluders = 0\n"
)
KILLED = 137
FORK = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def no_waiting(local: LocalFederation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.attempts, "REJOIN_S", 0.0)
    for name in local.names:
        (local.home(name).path / "policy.toml").write_text(OPEN + "[studies]\nask = false\n")


@pytest.fixture
def attacker(local: LocalFederation, private: Study) -> Attacker:
    return Attacker(local.federation, dict(zip(local.names, local.sites(), strict=True)), private).join_all()


def die(*_: object, **__: object) -> NoReturn:
    """As kill -9 does: nothing is cleaned up, nothing is flushed."""
    os._exit(KILLED)


def in_process(work: Callable[[], object]) -> int:
    """Exit status of a process of its own that does `work`."""
    process = FORK.Process(target=work)
    process.start()
    process.join(60)
    assert process.exitcode is not None
    return process.exitcode


def charges(local: LocalFederation, name: str, run: str) -> int:
    return len(Ledger(local.home(name).path / "ledger.sqlite").events(run))


def step_request(attacker: Attacker, plan: Plan, task: AnyTask) -> bytes:
    return attacker.request(Step(plan=plan, payload=memoryview(pack(Task(body=task)))))


def kill_at(owner: object, name: str, *, after: bool) -> Callable[[Site, bytes], None]:
    """`site.handle` until `owner.name`, and there the end: before its work or after it."""

    def work(site: Site, request: bytes) -> None:
        real = getattr(owner, name)

        def then_die(*args: object, **kwargs: object) -> NoReturn:
            if after:
                real(*args, **kwargs)
            die()

        setattr(owner, name, then_die)
        site.handle(request)

    return work


@dataclass(frozen=True)
class Kill:
    """Where the hospital dies while it answers a train plan, and what stands on its disk afterwards."""

    owner: object
    name: str
    after: bool
    charged: int
    stored: bool


KILLS = {
    "before the charge": Kill(Ledger, "reserve", after=False, charged=0, stored=False),
    "after the charge, before training": Kill(Ledger, "reserve", after=True, charged=1, stored=False),
    "after training, before the mask": Kill(client.doing, "contribute", after=False, charged=1, stored=False),
    "masked, not stored": Kill(Rounds, "store", after=False, charged=1, stored=False),
    "stored, not sent": Kill(Rounds, "store", after=True, charged=1, stored=True),
}


@pytest.mark.parametrize("name", KILLS)
def test_a_hospital_killed_while_it_trains(local: LocalFederation, attacker: Attacker, name: str) -> None:
    kill, task = KILLS[name], attacker.train_task()
    plan = attacker.plan(task)
    request = step_request(attacker, plan, task)

    def work() -> None:
        kill_at(kill.owner, kill.name, after=kill.after)(Site(local.home("alder")), request)

    assert in_process(work) == KILLED
    assert charges(local, "alder", "attacked") == kill.charged
    stored = Rounds(local.home("alder").path / "rounds.sqlite").reply(plan.digest())
    assert (stored is not None) == kill.stored
    first = Site(local.home("alder")).handle(request)
    assert isinstance(read_reply(first), Contributed)
    assert stored in (None, first)
    assert Site(local.home("alder")).handle(request) == first, "one answer to a plan, ever"
    assert charges(local, "alder", "attacked") == 1, "one charge for the one vector that left"
    assert Audit(local.home("alder").path / "audit.jsonl").verify() > 0


@pytest.mark.parametrize("after", [False, True])
def test_a_hospital_killed_while_it_helps_to_unmask(local: LocalFederation, attacker: Attacker, after: bool) -> None:
    """Its answer was made: asked again in other words it must not make a second one once the first is on disk."""
    collector = attacker.settled(SURVEY, attacker.plan(SURVEY), local.names)
    honest = unpack(UnmaskRequest, collector.request("alder"))
    request = attacker.request(Unmask(request=pack(honest)))

    def work() -> None:
        kill_at(Rounds, "close", after=after)(Site(local.home("alder")), request)

    assert in_process(work) == KILLED
    attacker.sites = {**attacker.sites, "alder": Site(local.home("alder"))}
    if after:
        other = replace(
            honest, survivors=("alder", "birch"), bundles=honest.bundles[:1], confirmations=honest.confirmations[:2]
        )
        assert isinstance(attacker.ask_unmask("alder", other), Refused)
    first = attacker.ask_unmask("alder", honest)
    assert isinstance(first, Answered)
    assert attacker.ask_unmask("alder", honest) == first
    for name in local.names:
        answer = attacker.ask_unmask(name, unpack(UnmaskRequest, collector.request(name)))
        assert isinstance(answer, Answered)
        collector.answer(answer.answer)
    assert collector.finish().counts[0] == 3


def test_two_processes_at_one_home_give_one_answer_and_one_charge(local: LocalFederation, attacker: Attacker) -> None:
    task = attacker.train_task()
    request = step_request(attacker, attacker.plan(task), task)
    replies: Any = FORK.SimpleQueue()

    def work() -> None:
        replies.put(Site(local.home("alder")).handle(request))

    processes = [FORK.Process(target=work) for _ in range(3)]
    for process in processes:
        process.start()
    found = {replies.get() for _ in processes}
    for process in processes:
        process.join(60)
    (reply,) = found
    assert isinstance(read_reply(reply), Contributed)
    assert charges(local, "alder", "attacked") == 1


def dies(at: Callable[[Site, bytes], None], folder: Path) -> Fault:
    """A fault: the hospital answers in a process of its own that dies at a given place; it is back for the next."""

    def fault(request: bytes, _serve: Callable[[bytes], bytes]) -> bytes | None:
        assert in_process(lambda: at(Site(Home(folder)), request)) == KILLED
        return None

    return fault


@pytest.mark.parametrize("name", ["after the charge, before training", "stored, not sent"])
def test_the_run_goes_on_when_a_hospital_is_killed(local: LocalFederation, private: Study, name: str) -> None:
    kill = KILLS[name]
    fault = dies(kill_at(kill.owner, kill.name, after=kill.after), local.home("birch").path)
    outcome, result = local.run(LocalLink(local.sites(), {Moment(1, "train", 1): fault}), private)
    assert result.status == "finished"
    assert result.sites.contributed == (("alder", "cedar"), ("alder", "birch", "cedar"))
    assert [charges(local, name, outcome.checkpoint.memory.run) for name in local.names] == [2, 2, 2]


class Killed(BaseException):
    """The coordinator's end, wherever the observer stood."""


@dataclass(frozen=True)
class Assassin(Recorder):
    """An observer that kills its run at the first event that `when` is true of."""

    when: Callable[[Event], bool] = field(default=lambda _: False)

    def notice(self, event: Event) -> None:
        super().notice(event)
        if self.when(event):
            raise Killed


#: when the coordinator dies, and the round of its newest checkpoint then, with its evaluation or without
ENDS: dict[str, tuple[Callable[[Event], bool], tuple[int, bool]]] = {
    "vectors of the first round in": (lambda e: e == StepProgress(1, "train", 3, 3), (0, True)),
    "vectors in, sum not opened": (lambda e: e == StepProgress(2, "train", 3, 3), (1, True)),
    "trained, not evaluated": (lambda e: e == StepProgress(2, "evaluate", 0, 3), (2, False)),
    "round over, no checkpoint": (lambda e: isinstance(e, RoundFinished) and e.round == 2, (2, False)),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_killed_coordinator_resumes_and_no_ledger_says_less_than_was_trained(
    local: LocalFederation, private: Study, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    trained = []

    def counted(*args: Any, **kwargs: Any) -> Outcome:
        trained.append(1)
        return train_round(*args, **kwargs)

    monkeypatch.setattr(client.doing, "train_round", counted)
    study = replace(private, training=replace(private.training, rounds=3))
    with pytest.raises(Killed):
        local.run(LocalLink(local.sites()), study, recorder=Assassin(when=ENDS[name][0]))
    newest = Checkpoints(local.folder / "run" / "checkpoints").newest()
    assert newest is not None
    assert (newest.memory.round, newest.memory.judged) == ENDS[name][1]
    outcome, result = local.run(LocalLink(local.sites()), study, resume=True)
    assert (result.status, outcome.checkpoint.memory.round) == ("finished", 3)
    assert [len(row.trained) for row in result.rounds.each] == [3, 3, 3]
    run = outcome.checkpoint.memory.run
    assert [charges(local, name, run) for name in local.names] == [3, 3, 3], "no round is paid for twice"
    assert len(trained) == 9, "and none trained twice"
    epsilon = Ledger(local.home("alder").path / "ledger.sqlite").epsilon(1e-5)
    assert result.privacy["alder"].epsilon_run == epsilon <= 8.0


def test_a_coordinator_killed_before_its_first_checkpoint_starts_anew(local: LocalFederation, private: Study) -> None:
    with pytest.raises(Killed):
        local.run(
            LocalLink(local.sites()),
            private,
            recorder=Assassin(when=lambda e: e == StepProgress(0, "survey", 3, 3)),
        )
    _, result = local.run(LocalLink(local.sites()), private)
    assert result.status == "finished"
    epsilon = Ledger(local.home("alder").path / "ledger.sqlite").epsilon(1e-5)
    assert epsilon == result.privacy["alder"].epsilon_run, "a survey spends nothing"


# A hospital that answers nonsense


def answering(reply: bytes) -> Fault:
    return lambda _request, _serve: reply


def told(change: Callable[[Shown], Shown], local: LocalFederation, name: str) -> Fault:
    """The hospital's own contribution with what it shows changed, under its own true signature."""

    def fault(request: bytes, serve: Callable[[bytes], bytes]) -> bytes | None:
        body = read_reply(serve(request))
        step = read_request(request)
        assert isinstance(body, Contributed)
        assert isinstance(step, Step)
        signed = Contributed.sign(
            body.contribution, body.vector, change(body.shown), local.home(name).identity, step.plan.digest()
        )
        return write_reply(signed)

    return fault


HUGE = "x" * 200_000
NONSENSE: dict[str, bytes] = {
    "nothing": b"",
    "no message": b"\xc1\x00",
    "a reply of another kind": write_reply(Answered(answer=b"")),
    "a refusal of many letters": write_reply(
        Refused(what=HUGE, expected="\x1b[2J<script>", got=HUGE, do=HUGE, rule="", site="alder")
    ),
    "a policy's refusal of many letters": write_reply(
        Refused(what=HUGE, expected="", got="", do="", rule=HUGE, site="birch")
    ),
    "an empty refusal": write_reply(Refused(what="", expected="", got="", do="")),
    "a field of many letters": msgspec.msgpack.encode({"version": VERSION, "body": {"type": HUGE}}),
    "another version": msgspec.msgpack.encode({"version": 9, "body": {"type": "joined"}}),
}


def quick(study: Study) -> Study:
    """A study that waits for nobody."""
    return replace(study, federation=replace(study.federation, timeout_s=0.1))


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_at_every_step_stops_nobody(local: LocalFederation, study: Study, name: str) -> None:
    steps = (Moment(1, "survey"), Moment(1, "train", 1), Moment(1, "evaluate", 1))
    moments = (*steps, Moment(1, "confirm"), Moment(1, "unmask"))
    link = LocalLink(local.sites(), dict.fromkeys(moments, answering(NONSENSE[name])))
    _, result = local.run(link, quick(study))
    assert result.status == "finished"
    assert result.sites.contributed[0] == ("alder", "cedar")
    assert {"alder", "cedar"} <= set(result.sites.contributed[1])
    assert {out.site for out in result.sites.left_out} == {"birch"}
    assert {out.step.split()[0] for out in result.sites.left_out} == {"survey", "train", "evaluate"}
    assert all(0 < len(out.reason) <= 500 and out.reason.isprintable() for out in result.sites.left_out)


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_for_an_invitation_keeps_only_its_sender_out(local: LocalFederation, study: Study, name: str) -> None:
    link = LocalLink(local.sites(), {Moment(1, "join"): answering(NONSENSE[name])})
    aggregator = Aggregator(
        link, local.federation.invitation("run", study), local.federation.roster, local.federation.operator
    )
    problems = aggregator.welcome(0.1)
    assert aggregator.members.cohort("train") == ("alder", "cedar")
    (reason,) = problems.values()
    assert 0 < len(reason) <= 500
    assert reason.isprintable()


def test_the_reply_of_another_hospital_is_not_taken(local: LocalFederation, study: Study) -> None:
    link = LocalLink(local.sites())

    def echo(request: bytes, _serve: Callable[[bytes], bytes]) -> bytes | None:
        return next(reply for node, asked, reply in link.traffic if node == 0 and asked == request)

    link._faults[Moment(1, "train", 1)] = echo
    _, result = local.run(link, study)
    assert result.status == "finished"
    assert result.sites.contributed == (("alder", "cedar"), ("alder", "birch", "cedar"))
    (out,) = result.sites.left_out
    assert out.site == "birch"
    assert "signature for konsil/shown/v1" in out.reason


def spent(shown: Shown, **changes: float) -> Shown:
    assert shown.spent is not None
    return replace(shown, spent=replace(shown.spent, **changes))


SHOWN: dict[str, Callable[[Shown], Shown]] = {
    "no number of seconds": lambda s: replace(s, seconds=float("nan")),
    "endless seconds": lambda s: replace(s, seconds=float("inf")),
    "a noise of its own": lambda s: spent(s, noise_multiplier=1e-9),
    "an endless number of steps": lambda s: spent(s, steps=10**15),
    "no epsilon": lambda s: spent(s, epsilon_run=float("nan")),
    "an endless epsilon": lambda s: spent(s, epsilon_total=float("inf")),
    "counts of its own invention": lambda s: replace(s, counts={"x" * 9999: 1}),
    "negative counts": lambda s: replace(s, counts={"used": -1}),
    "a figure of its own": lambda s: replace(s, figures=OwnFigures("x" * 999, value=1, low=0, high=1, n=4)),
    "an AUC of three": lambda s: replace(s, figures=OwnFigures("stratified_auc", value=3, low=0, high=1, n=4)),
}


@pytest.mark.parametrize("name", SHOWN)
def test_figures_that_no_hospital_has_are_not_taken(
    local: LocalFederation, attacker: Attacker, private: Study, name: str
) -> None:
    link = LocalLink(local.sites(), {Moment(1, "train", 1): told(SHOWN[name], local, "birch")})
    aggregator = Aggregator(link, attacker.invitation, local.federation.roster, local.federation.operator)
    aggregator.welcome(1.0)
    task = attacker.train_task()
    total = aggregator.aggregate(task, round_=1, attempt=1, progress=lambda _done, _asked: None)
    assert total.survivors == ("alder", "cedar")
    assert list(total.missing) == ["birch"]
    assert "shown" in total.missing["birch"]


def test_a_time_that_is_no_number_does_not_spoil_the_checkpoint(local: LocalFederation, study: Study) -> None:
    fault = told(SHOWN["no number of seconds"], local, "birch")
    local.run(LocalLink(local.sites(), {Moment(1, "train", 1): fault}), study)
    newest = Checkpoints(local.folder / "run" / "checkpoints").newest()
    assert newest is not None
    assert newest.memory.rows[0].trained == ("alder", "cedar")


Change = Callable[[Plain], Plain]


def poisoned(change: Change) -> Callable[..., Masked]:
    """`contribute` on what its own hospital falsified before masking it."""
    return lambda seat, plain, **kwargs: contribute(
        seat, change(plain) if seat.own.site == "birch" else plain, **kwargs
    )


def first_count(plain: Plain) -> Plain:
    counts = plain.counts.copy()
    counts[0] = 7
    return plain._replace(counts=counts)


def all_ones(plain: Plain) -> Plain:
    counts = plain.counts.copy()
    counts[1:] = 2**64 - 1
    return Plain(counts, lambda _start, piece: piece.fill(2**32 - 1))


@pytest.mark.parametrize("step", ["survey", "train", "evaluate"])
@pytest.mark.parametrize("change", [first_count, all_ones])
def test_a_vector_of_nonsense_ends_in_a_result_that_says_so(
    local: LocalFederation,
    study: Study,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    change: Change,
) -> None:
    """Under masks nobody can tell whose fault it is; what can be read, is, and the rest is never in the model."""
    dirty = poisoned(change)
    monkeypatch.setattr(
        client.doing,
        "contribute",
        lambda seat, plain, **k: (dirty if seat.plan.step == step else contribute)(seat, plain, **k),
    )
    outcome, result = local.run(LocalLink(local.sites()), study)
    assert np.isfinite(outcome.checkpoint.state.weights).all()
    if change is first_count:
        assert result.status in ("stopped", "failed")
        assert "unmasked sum: expected 3 sites in its first count" in result.because


@pytest.mark.parametrize("place", [1, -1])
def test_nonsense_about_a_subgroup_ends_in_a_result_too(
    local: LocalFederation, study: Study, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    """Among a group's counts, or in how many hospitals keep it back: no report can be made of it."""
    grouped = quick(replace(study, evaluation=replace(study.evaluation, subgroups=("sex",))))
    first = 1 + (kind_of(study).counts if place > 0 else evaluated_length(grouped) - 5)

    def dirty(plain: Plain) -> Plain:
        counts = plain.counts.copy()
        if len(counts) == 1 + evaluated_length(grouped):
            counts[first : first + 3] = 2**64 - 1
        return plain._replace(counts=counts)

    monkeypatch.setattr(client.doing, "contribute", poisoned(dirty))
    _, result = local.run(LocalLink(local.sites()), grouped)
    assert result.status in ("stopped", "failed")
    assert "A hospital sent counts that no archive has" in result.because


def test_wrong_shares_from_most_hospitals_stop_the_run_with_names(
    local: LocalFederation, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right signatures, wrong content: no sum can be opened, and the coordinator must not fall over."""

    def wrong(state: Any, request: bytes, **kwargs: Any) -> bytes:
        true = unpack(UnmaskAnswer, unmask(state, request, **kwargs))
        false = replace(true, self_shares=bytes(len(true.self_shares)))
        return pack(replace(false, signature=kwargs["identity"].sign(ANSWER_LABEL, *answer_parts(false))))

    monkeypatch.setattr(client.survivors, "unmask", wrong)
    _, result = local.run(LocalLink(local.sites()), study)
    assert result.status == "failed"
    assert "alder" in result.because
    assert "did not commit to" in result.because


def test_a_refusal_in_another_hospitals_name_does_not_send_that_hospital_home(
    local: LocalFederation, study: Study
) -> None:
    slander = write_reply(Refused(what="no", expected="", got="", do="", rule="x", site="alder"))
    link = LocalLink(local.sites(), {Moment(2, "join"): answering(slander)})
    _, result = local.run(link, quick(study))
    assert result.sites.contributed == (("alder", "birch"),) * 2
    assert "alder" not in {out.site for out in result.sites.left_out}


class LateLink(LocalLink):
    """Its last node connects after the others have been asked."""

    def nodes(self) -> tuple[int, ...]:
        known = super().nodes()
        return known if self.traffic else known[:-1]


def test_a_hospital_that_declined_and_came_back_is_not_counted_twice(local: LocalFederation, study: Study) -> None:
    """Alder declined as node 0 and is in as node 1; birch, not connected yet, is still waited for."""
    alder, birch, cedar = local.sites()
    declines = write_reply(Refused(what="no", expected="", got="", do="", rule="x", site="alder"))
    link = LateLink([alder, Site(local.home("alder")), cedar, birch], {Moment(0, "join"): answering(declines)})
    aggregator = Aggregator(
        link, local.federation.invitation("run", study), local.federation.roster, local.federation.operator
    )
    aggregator.welcome(5.0)
    assert aggregator.members.cohort("train") == ("alder", "birch", "cedar")
    assert aggregator.members.declined == {}


@pytest.mark.parametrize("fault", [lost, reply_lost])
def test_a_hospital_that_never_answers_again_costs_no_round(local: LocalFederation, study: Study, fault: Fault) -> None:
    steps = ("join", "survey", "train", "evaluate", "confirm", "unmask")
    _, result = local.run(LocalLink(local.sites(), {Moment(2, step): fault for step in steps}), quick(study))
    assert result.status == "finished"
    assert result.sites.contributed == (("alder", "birch"),) * 2
