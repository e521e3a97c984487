"""Two sums over nearly the same hospitals must not tell one hospital's part; only the operator makes plans."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from client.ledger import Ledger
from shared.crypto.identity import Identity
from shared.messages.replies import Answered, Confirmed, Contributed, Refused, read_reply
from shared.messages.requests import Confirm, Step, Unmask, write_request
from shared.messages.tasks import AnyTask, Task
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
