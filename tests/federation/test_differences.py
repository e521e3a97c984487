"""Two sums over nearly the same hospitals must not tell one hospital's part; only the operator makes plans."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

import client.votes
from client.ledger import Ledger
from client.standing import Standing
from client.votes import Vote
from shared.algorithms.registry import algorithm_of
from shared.crypto.identity import Identity
from shared.evaluated import model_digest
from shared.messages.replies import Answered, Confirmed, Contributed, Refused, read_reply
from shared.messages.requests import Confirm, Step, Unmask, write_request
from shared.messages.tasks import AnyTask, Task, TrainTask
from shared.secagg.plan import Plan
from shared.study import Study
from shared.wire import pack
from simulations.attacker import SURVEY, Attacker
from simulations.local import LocalFederation

OPEN = '[privacy]\nleast = "off"\n[aggregation]\nmin_cohort = 2\ncolluders = 0\n[studies]\nask = false\n'
ALL, FEWER = ("alder", "birch", "cedar"), ("alder", "birch")


@pytest.fixture
def attacker(local: LocalFederation, study: Study) -> Attacker:
    return hostile(local, study)


def hostile(local: LocalFederation, study: Study) -> Attacker:
    for name in local.names:
        (local.home(name).path / "policy.toml").write_text(OPEN)
    return Attacker(local.federation, dict(zip(local.names, local.sites(), strict=True)), study).join_all()


def over(attacker: Attacker, task: AnyTask, sites: Sequence[str], *, round_: int, attempt: int) -> Plan:
    plan = attacker.plan(task, round_=round_, attempt=attempt)
    cohort = tuple(record for record in plan.cohort if record.site in sites)
    terms = attacker.terms(task, len(cohort))
    return replace(plan, cohort=cohort, threshold=terms.threshold, quantizer=terms.quantizer)


def opened(attacker: Attacker, task: AnyTask, sites: Sequence[str], *, round_: int, attempt: int) -> bool:
    """Whether every one of `sites` helped to open the sum over `sites`."""
    plan = over(attacker, task, sites, round_=round_, attempt=attempt)
    collector = attacker.contributions(task, plan, sites)
    replies = [attacker.say(name, Confirm(request=collector.ask_confirm(name))) for name in sites]
    if all(isinstance(reply, Confirmed) for reply in replies):
        for reply in replies:
            collector.confirm(reply.confirmation if isinstance(reply, Confirmed) else b"")
        collector.settle()
        replies = [attacker.say(name, Unmask(request=collector.request(name))) for name in sites]
    refusals = [reply for reply in replies if isinstance(reply, Refused)]
    assert all("survivors of the sum that was opened before" in refusal.expected for refusal in refusals)
    return all(isinstance(reply, Answered) for reply in replies)


def test_a_survey_is_not_opened_again_over_fewer_hospitals(attacker: Attacker) -> None:
    assert opened(attacker, SURVEY, ALL, round_=0, attempt=1)
    assert not opened(attacker, SURVEY, FEWER, round_=0, attempt=2)
    assert opened(attacker, SURVEY, ALL, round_=0, attempt=3), "over the same hospitals it is the same sum"


def test_nor_an_evaluation_of_the_same_round_with_another_model(attacker: Attacker) -> None:
    assert opened(attacker, attacker.evaluate_task(1), ALL, round_=1, attempt=1)
    nudged = attacker.weights.copy()
    nudged[0] += 1e-7
    task = replace(attacker.evaluate_task(1), weights=memoryview(nudged.tobytes()))
    assert not opened(attacker, task, FEWER, round_=1, attempt=2)


def test_nor_the_same_model_in_another_round(attacker: Attacker) -> None:
    assert opened(attacker, attacker.evaluate_task(1), ALL, round_=1, attempt=1)
    assert not opened(attacker, attacker.evaluate_task(1), FEWER, round_=2, attempt=2)
    assert opened(attacker, attacker.evaluate_task(2), FEWER, round_=2, attempt=3), "the test patients are others"


def test_nor_the_same_model_compared_with_another(local: LocalFederation, study: Study) -> None:
    """What a vote compares with changes the question and none of its counts."""
    attacker = hostile(local, replace(study, federation=replace(study.federation, guard=True)))
    task = attacker.evaluate_task(1)
    assert opened(attacker, task, ALL, round_=1, attempt=1)
    assert not opened(attacker, replace(task, before=bytes(32)), FEWER, round_=2, attempt=2)


@pytest.mark.parametrize("shown", [("alder",), FEWER, ALL])
def test_no_vote_stands_alone(
    local: LocalFederation, study: Study, monkeypatch: pytest.MonkeyPatch, shown: tuple[str, ...]
) -> None:
    """The model before was shown to alder alone, whose vote would be the sum; or to two, of whom one may be lost."""
    attacker = hostile(local, replace(study, federation=replace(study.federation, guard=True)))
    cast = []

    def vote(now: Standing, *, before: Standing) -> Vote:
        cast.append((now, before))
        return Vote(1, 1)

    monkeypatch.setattr(client.votes, "vote", vote)
    task = attacker.evaluate_task(1)
    if len(shown) > 1:
        assert opened(attacker, task, shown, round_=1, attempt=1)
    else:
        attacker.step("alder", task, attacker.plan(task, round_=1, attempt=1))
    other = replace(task, weights=memoryview((attacker.weights + 1).tobytes()), before=model_digest(task.weights))
    assert opened(attacker, other, ALL, round_=2, attempt=2)
    assert len(cast) == (3 if shown == ALL else 0)


def test_nor_hospitals_own_models_beside_the_common_one(local: LocalFederation, study: Study) -> None:
    """Before the first round, and where what is a hospital's own moves no figure, they are the same model."""
    attacker = hostile(local, replace(study, federation=replace(study.federation, personal=("head",))))
    task = attacker.evaluate_task(2)
    assert opened(attacker, task, ALL, round_=1, attempt=1)
    assert not opened(attacker, replace(task, personal=True), FEWER, round_=1, attempt=2)
    assert not opened(attacker, replace(task, personal=True), FEWER, round_=2, attempt=3)
    assert opened(attacker, replace(task, personal=True), ALL, round_=2, attempt=4)


def test_nor_a_public_update(attacker: Attacker) -> None:
    assert opened(attacker, attacker.train_task(), ALL, round_=1, attempt=1)
    assert not opened(attacker, attacker.train_task(), FEWER, round_=1, attempt=2)


@pytest.fixture(params=["scaffold", "feddyn", "head"])
def keeping(local: LocalFederation, study: Study, request: pytest.FixtureRequest) -> Attacker:
    """A run whose hospitals keep something between rounds, which moves their updates."""
    own = {"personal": ("head",)} if request.param == "head" else {"strategy": request.param}
    federation = replace(study.federation, **own)
    return hostile(local, replace(study, federation=federation, training=replace(study.training, rounds=4)))


def training(attacker: Attacker, **counted: int) -> TrainTask:
    """A task from the same weights as every other, that says which round counts of whom."""
    size = 4 * attacker.weights.size * algorithm_of(attacker.study).beside
    return attacker.train_task(counted=counted, beside=memoryview(bytes(size)))


def refused(attacker: Attacker, task: AnyTask, site: str, *, round_: int, attempt: int) -> str:
    """What `site` says it expected instead; empty if it answers."""
    reply = attacker.step(site, task, attacker.plan(task, round_=round_, attempt=attempt))
    if isinstance(reply, Refused):
        assert reply.what == "train task: counted"
        return reply.expected
    return ""


def test_nor_may_one_hospital_alone_go_on_from_something_else(keeping: Attacker) -> None:
    """Two sums over the same hospitals: between them alder alone is told to begin anew, and others repeat theirs."""
    assert opened(keeping, training(keeping), ALL, round_=1, attempt=1)
    assert opened(keeping, training(keeping, alder=1, birch=1, cedar=1), ALL, round_=2, attempt=2)
    for site in ALL:
        task = training(keeping, birch=1, cedar=1)
        assert "count of alder" in refused(keeping, task, site, round_=2, attempt=3)
        assert "count of alder" in refused(keeping, task, site, round_=3, attempt=3)
    assert opened(keeping, training(keeping, alder=2, birch=2, cedar=2), ALL, round_=3, attempt=3)


def test_nor_is_a_round_that_was_taken_back_brought_in_for_one(keeping: Attacker) -> None:
    assert opened(keeping, training(keeping), ALL, round_=1, attempt=1)
    assert opened(keeping, training(keeping), ALL, round_=2, attempt=2)
    for counted in ({"alder": 1}, {"alder": 1, "birch": 1, "cedar": 1}):
        task = training(keeping, **counted)
        assert "from 2 on to count of" in refused(keeping, task, "birch", round_=3, attempt=3)


def test_nor_does_a_round_count_of_one_of_those_whose_sum_it_was(keeping: Attacker) -> None:
    assert opened(keeping, training(keeping), ALL, round_=1, attempt=1)
    task = training(keeping, alder=1)
    assert [refused(keeping, task, site, round_=2, attempt=2) for site in ALL] == [
        "round 1 to count of all whose sum it was"
    ] * 3
    assert opened(keeping, training(keeping), ALL, round_=2, attempt=2), "it was taken back, for all"
    assert "rounds before 3" in refused(keeping, training(keeping, alder=3), "birch", round_=3, attempt=3)


def test_who_was_missing_from_a_round_is_no_reason_to_refuse(keeping: Attacker) -> None:
    assert opened(keeping, training(keeping), ALL, round_=1, attempt=1)
    assert opened(keeping, training(keeping, alder=1, birch=1, cedar=1), FEWER, round_=2, attempt=2)
    assert opened(keeping, training(keeping, alder=2, birch=2, cedar=1), ALL, round_=3, attempt=3)


def test_own_models_are_judged_of_rounds_that_others_were_in_too(local: LocalFederation, study: Study) -> None:
    """Else two sums of own models would differ in the one hospital that was asked to train in between."""
    attacker = hostile(local, replace(study, federation=replace(study.federation, personal=("all",))))
    judged = replace(attacker.evaluate_task(2), personal=True)
    assert opened(attacker, training(attacker), ALL, round_=1, attempt=1)
    counts = [counted_by(attacker, judged, round_=1, attempt=2)]
    task = training(attacker, alder=1, birch=1, cedar=1)
    assert isinstance(attacker.step("alder", task, attacker.plan(task, round_=2, attempt=3)), Contributed)
    counts.append(counted_by(attacker, judged, round_=2, attempt=4))
    assert counts[0] == counts[1]


def counted_by(attacker: Attacker, task: AnyTask, *, round_: int, attempt: int) -> list[int]:
    """The opened sum of counts of `task` over all."""
    plan = over(attacker, task, ALL, round_=round_, attempt=attempt)
    collector = attacker.settled(task, plan, ALL)
    for name in ALL:
        reply = attacker.say(name, Unmask(request=collector.request(name)))
        assert isinstance(reply, Answered)
        collector.answer(reply.answer)
    return [int(count) for count in collector.finish().counts]


def test_a_private_update_may_be_asked_again_for_another_charge(local: LocalFederation, private: Study) -> None:
    attacker = hostile(local, replace(private, training=replace(private.training, rounds=3)))
    assert opened(attacker, attacker.train_task(), ALL, round_=1, attempt=1)
    assert opened(attacker, attacker.train_task(), FEWER, round_=1, attempt=2)
    charges = len(Ledger(local.home("alder").path / "ledger.sqlite").events("attacked"))
    assert charges == 2


@pytest.mark.parametrize("round_", [0, 4, 10**6])
def test_evaluations_are_held_to_the_studys_rounds(attacker: Attacker, round_: int) -> None:
    reply = attacker.step("alder", attacker.evaluate_task(1), attacker.plan(attacker.evaluate_task(1), round_=round_))
    assert isinstance(reply, Refused)
    assert "a round from 1 to 3" in reply.expected


def test_the_network_side_cannot_make_plans(local: LocalFederation, private: Study) -> None:
    """It carries join records, plans and vectors, so it knows all that a plan is made of but the operator's key."""
    attacker = hostile(local, private)
    task = attacker.train_task()
    step = Step(plan=attacker.plan(task, attempt=2**62), payload=memoryview(pack(Task(body=task))))
    for operator in (None, Identity.generate()):
        reply = read_reply(attacker.sites["alder"].handle(write_request(step, operator)))
        assert isinstance(reply, Refused)
    assert Ledger(local.home("alder").path / "ledger.sqlite").epsilon(1e-5) == 0.0
    assert isinstance(attacker.step("alder", task), Contributed), "and it has shut nobody out"


def test_nor_have_a_sum_unmasked(attacker: Attacker) -> None:
    plan = attacker.plan(SURVEY, round_=0)
    closed = attacker.contributions(SURVEY, plan, ALL)
    settled = attacker.settled(SURVEY, plan, ALL)
    for body in (Confirm(request=closed.ask_confirm("alder")), Unmask(request=settled.request("alder"))):
        for operator in (None, Identity.generate()):
            reply = read_reply(attacker.sites["alder"].handle(write_request(body, operator)))
            assert isinstance(reply, Refused)
    assert isinstance(attacker.say("alder", body), Answered), "the honest request still has its answer"
