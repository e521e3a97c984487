"""What the hospital itself must say yes to: approvals and quiet hours, and every way around them."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

import client.doing
import client.workbench
import server.attempts
import server.attendance
from client.approvals import MOST_WAITING, Approvals
from client.audit import Audit
from client.ledger import Ledger
from client.rounds import Rounds
from client.site import Site
from server.aggregate import Aggregator
from shared.messages.replies import Answered, Contributed, Joined, Refused, read_reply, write_reply
from shared.messages.requests import Step, Unmask, write_request
from shared.messages.tasks import Task
from shared.secagg.messages import UnmaskRequest
from shared.study import Study
from shared.wire import pack, unpack
from simulations.attacker import SURVEY, Attacker
from simulations.faults import Fault, LocalLink, Moment
from simulations.invitation_attacks import (
    STUDIES,
    flood,
    foreign_root,
    next_roster,
    swapped_study,
    under,
    unsigned_study,
)
from simulations.local import LocalFederation

OPEN = (
    '[privacy]\nleast = "off"\nepsilon_total = 100.0\nepsilon_per_study = 100.0\n'
    "[aggregation]\nmin_cohort = 2\ncolluders = 0\n"
)
ASK = OPEN + "[studies]\nask = true\n"
FREE = OPEN + "[studies]\nask = false\n"
QUIET = FREE + '[hours]\nquiet = ["00:00-24:00"]\n'


def set_policy(local: LocalFederation, text: str, name: str = "alder") -> None:
    (local.home(name).path / "policy.toml").write_text(text)


def approvals(local: LocalFederation, name: str = "alder") -> Approvals:
    return Approvals(local.home(name).path / "approvals")


def decide(local: LocalFederation, decision: str, name: str = "alder") -> None:
    store = approvals(local, name)
    (asked,) = [each for each in store.listed() if each.decision != "denied"]
    store.decide(asked, decision, note=lambda: None)  # type: ignore[arg-type]


def events(local: LocalFederation, name: str = "alder") -> list[str]:
    return [entry.event for entry in Audit(local.home(name).path / "audit.jsonl").entries()]


@pytest.fixture
def attacker(local: LocalFederation, private: Study) -> Attacker:
    """Alder asks its people; birch and cedar do not."""
    set_policy(local, ASK)
    for name in ("birch", "cedar"):
        set_policy(local, FREE, name)
    return Attacker(local.federation, dict(zip(local.names, local.sites(), strict=True)), private)


def never(*_: object, **__: object) -> None:
    raise AssertionError("something of a study that nobody approved was computed")


def waits(reply: object) -> Refused:
    assert isinstance(reply, Refused), reply
    assert (reply.rule, reply.passing) == ("studies.ask", True)
    assert "waits for approval" in reply.reason
    return reply


# Approvals


def test_nothing_of_a_waiting_study_is_run_prepared_or_agreed(
    local: LocalFederation, attacker: Attacker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.workbench, "network_of", never)
    for name in ("train_round", "survey", "evaluate", "contribute"):
        monkeypatch.setattr(client.doing, name, never)
    monkeypatch.setattr(client.workbench.Workbench, "prepared", never)
    for _ in range(2):
        waits(attacker.say("alder", attacker.invitation))
    assert Rounds(local.home("alder").path / "rounds.sqlite").run(attacker.run) is None
    assert events(local) == ["waits", "refused", "sent", "refused", "sent"]
    waits(
        Attacker(attacker.federation, attacker.sites, attacker.study, run="another").say("alder", attacker.invitation)
    )


def test_an_approved_study_is_joined_and_answered(local: LocalFederation, attacker: Attacker) -> None:
    waits(attacker.say("alder", attacker.invitation))
    decide(local, "approved")
    attacker.join_all()
    assert isinstance(attacker.step("alder", SURVEY), Contributed)
    restarted = Site(local.home("alder"))
    assert isinstance(read_reply(restarted.handle(write_request(attacker.invitation))), Joined)


@pytest.mark.parametrize("change", STUDIES)
def test_an_approval_does_not_cover_a_study_changed_in_one_place(
    local: LocalFederation, attacker: Attacker, change: str
) -> None:
    waits(attacker.say("alder", attacker.invitation))
    decide(local, "approved")
    changed = STUDIES[change](attacker.study)
    other = Attacker(attacker.federation, attacker.sites, changed, run="changed")
    waits(other.say("alder", other.invitation))
    assert [each.decision for each in approvals(local).listed()].count("waits") == 1


def test_a_denied_study_is_refused_for_good_under_any_run(local: LocalFederation, attacker: Attacker) -> None:
    waits(attacker.say("alder", attacker.invitation))
    decide(local, "denied")
    for run in ("attacked", "again"):
        attacker.run = run
        reply = attacker.say("alder", attacker.invitation)
        assert isinstance(reply, Refused)
        assert (reply.rule, reply.passing) == ("studies.ask", False)


def test_a_denial_stops_a_run_that_was_approved_before(local: LocalFederation, attacker: Attacker) -> None:
    waits(attacker.say("alder", attacker.invitation))
    decide(local, "approved")
    attacker.join_all()
    decide(local, "denied")
    reply = attacker.step("alder", attacker.train_task())
    assert isinstance(reply, Refused)
    assert not reply.passing
    assert Ledger(local.home("alder").path / "ledger.sqlite").events(attacker.run) == ()


def test_a_run_joined_before_the_hospital_began_to_ask_waits_too(local: LocalFederation, attacker: Attacker) -> None:
    set_policy(local, FREE)
    attacker.join_all()
    set_policy(local, ASK)
    waits(attacker.step("alder", attacker.train_task()))


def test_a_flood_of_signed_studies_fills_no_disk(local: LocalFederation, attacker: Attacker) -> None:
    waits(attacker.say("alder", attacker.invitation))
    replies = flood(attacker, "alder", 2 * MOST_WAITING)
    assert all(isinstance(reply, Refused) and reply.passing for reply in replies)
    assert len(approvals(local).listed()) == MOST_WAITING
    assert attacker.study in [each.study for each in approvals(local).listed()], "the first is still there"


def test_an_unsigned_or_forbidden_study_is_not_even_kept(local: LocalFederation, attacker: Attacker) -> None:
    for invitation in (unsigned_study, swapped_study, foreign_root):
        assert isinstance(attacker.say("alder", invitation(attacker, "alder")), Refused)
    set_policy(local, ASK.replace("min_cohort = 2", "min_cohort = 3"))
    reply = attacker.say("alder", attacker.invitation)
    assert isinstance(reply, Refused)
    assert reply.rule == "aggregation.min_cohort"
    assert approvals(local).listed() == ()


# Quiet hours


def test_no_round_begins_in_quiet_hours_and_what_was_begun_is_finished(
    local: LocalFederation, attacker: Attacker, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_policy(local, FREE)
    attacker.join_all()
    plan = attacker.plan(SURVEY)
    collector = attacker.settled(SURVEY, plan, tuple(attacker.sites))
    again = attacker.request(Step(plan=plan, payload=memoryview(pack(Task(body=SURVEY)))))
    first = attacker.sites["alder"].handle(again)
    set_policy(local, QUIET)
    for name in ("train_round", "survey", "evaluate", "contribute"):
        monkeypatch.setattr(client.doing, name, never)
    for attempt in (2, 3):
        reply = attacker.step("alder", attacker.train_task(), attacker.plan(attacker.train_task(), attempt=attempt))
        assert isinstance(reply, Refused)
        assert (reply.rule, reply.passing) == ("hours.quiet", True)
        assert "no new round before 24:00" in reply.reason
    assert attacker.sites["alder"].handle(again) == first, "a plan answered before is sent again"
    honest = unpack(UnmaskRequest, collector.request("alder"))
    assert isinstance(attacker.say("alder", Unmask(request=pack(honest))), Answered)
    assert Ledger(local.home("alder").path / "ledger.sqlite").events(attacker.run) == ()


@pytest.mark.parametrize("valid_from", [0, 1_000_000])
def test_no_time_in_a_message_moves_the_hospitals_clock(
    local: LocalFederation, attacker: Attacker, valid_from: int
) -> None:
    set_policy(local, QUIET)
    roster = next_roster(attacker, valid_from=valid_from)
    reply = attacker.say("alder", under(attacker, roster))
    assert isinstance(reply, Refused)
    assert reply.rule == "hours.quiet"


def test_a_study_asked_in_quiet_hours_is_kept_for_its_people_all_the_same(
    local: LocalFederation, attacker: Attacker
) -> None:
    set_policy(local, QUIET.replace("ask = false", "ask = true"))
    waits(attacker.say("alder", attacker.invitation))
    decide(local, "approved")
    reply = attacker.say("alder", attacker.invitation)
    assert isinstance(reply, Refused)
    assert reply.rule == "hours.quiet"


# The coordinator's side


def aggregator(local: LocalFederation, link: LocalLink, study: Study, run: str = "run") -> Aggregator:
    return Aggregator(link, local.federation.invitation(run, study), local.federation.roster, local.federation.operator)


def asked(link: LocalLink, node: int) -> int:
    return sum(node == at for at, _, _ in link.traffic)


def approves_at(local: LocalFederation, count: int) -> Fault:
    """Alder's people approve after its `count`-th invitation."""
    seen = []

    def fault(request: bytes, serve: Callable[[bytes], bytes]) -> bytes | None:
        seen.append(1)
        reply = serve(request)
        if len(seen) == count:
            decide(local, "approved")
        return reply

    return fault


def test_a_hospital_that_waits_is_asked_again_until_its_people_agree(
    local: LocalFederation, attacker: Attacker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.attendance, "ASK_AGAIN_S", 0.0)
    link = LocalLink(local.sites(), {Moment(0, "join"): approves_at(local, 3)})
    found, told = aggregator(local, link, attacker.study), list[tuple[str, str]]()
    assert found.welcome(60.0, waits=lambda name, reason: told.append((name, reason))) == {}
    assert found.members.cohort("train") == ("alder", "birch", "cedar")
    assert asked(link, 0) == 4
    ((name, reason),) = told
    assert (name, "waits for approval" in reason) == ("alder", True)


def test_waiting_ends_with_the_timeout_and_is_no_busy_loop(
    local: LocalFederation, attacker: Attacker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.attendance, "ASK_AGAIN_S", 1000.0)
    link = LocalLink(local.sites())
    found = aggregator(local, link, attacker.study)
    problems = found.welcome(0.7)
    assert "waits for approval" in problems["alder"]
    assert "waits for approval" in found.members.absent("train")["alder"]
    assert [asked(link, node) for node in (0, 1, 2)] == [1, 1, 1]


def test_later_rounds_ask_again_but_do_not_wait(
    local: LocalFederation, attacker: Attacker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.attendance, "ASK_AGAIN_S", 0.0)
    link = LocalLink(local.sites())
    found = aggregator(local, link, attacker.study)
    found.welcome(0.0)
    before = asked(link, 0)
    monkeypatch.setattr(time, "sleep", never)
    found.welcome(3600.0)
    assert asked(link, 0) == before + 1
    decide(local, "approved")
    assert found.welcome(3600.0) == {}
    assert found.members.cohort("train") == ("alder", "birch", "cedar")


def test_a_run_goes_on_without_the_one_that_waits_and_says_so(
    local: LocalFederation, attacker: Attacker, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.attendance, "ASK_AGAIN_S", 0.0)
    link = LocalLink(local.sites(), {Moment(1, "train", 1): then(lambda: decide(local, "approved"))})
    _, result = local.run(link, impatient(study))
    assert result.status == "finished"
    assert result.sites.contributed == (("birch", "cedar"), ("alder", "birch", "cedar"))
    reasons = {(out.site, out.step): out.reason for out in result.sites.left_out}
    assert "waits for approval" in reasons["alder", "join"]
    assert "waits for approval" in reasons["alder", "train"]


def then(act: Callable[[], None]) -> Fault:
    """The hospital answers; then something happens."""

    def fault(request: bytes, serve: Callable[[bytes], bytes]) -> bytes | None:
        reply = serve(request)
        act()
        return reply

    return fault


def impatient(study: Study) -> Study:
    """The study, waiting for nobody."""
    return replace(study, federation=replace(study.federation, timeout_s=0.1))


def test_quiet_hours_that_begin_in_a_run_cost_the_others_one_round_at_most(
    local: LocalFederation, attacker: Attacker, private: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three are needed; alder goes quiet before round 2: birch and cedar are not made to train again and again."""
    monkeypatch.setattr(server.attempts, "REJOIN_S", 0.0)
    set_policy(local, FREE)
    three = replace(private, federation=replace(private.federation, min_sites=3))
    link = LocalLink(local.sites(), {Moment(0, "train", 1): then(lambda: set_policy(local, QUIET))})
    outcome, result = local.run(link, three)
    run = outcome.checkpoint.memory.run
    assert result.status != "finished"
    assert "quiet hours" in result.because
    assert max(len(Ledger(local.home(name).path / "ledger.sqlite").events(run)) for name in local.names) <= 2


def test_a_hospital_is_back_when_its_quiet_hours_are_over(
    local: LocalFederation, attacker: Attacker, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.attendance, "ASK_AGAIN_S", 0.0)
    set_policy(local, QUIET)
    link = LocalLink(local.sites(), {Moment(1, "train", 1): then(lambda: set_policy(local, FREE))})
    _, result = local.run(link, impatient(study))
    assert result.sites.contributed == (("birch", "cedar"), ("alder", "birch", "cedar"))
    assert "quiet hours" in {out.site: out.reason for out in result.sites.left_out if out.step == "join"}["alder"]


def test_an_old_coordinator_understands_the_refusal() -> None:
    """`passing` is a field that grew: what lacks it means no for good."""
    plain = read_reply(write_reply(Refused(what="no", expected="", got="", do="")))
    assert isinstance(plain, Refused)
    assert plain.passing is False


def test_the_policy_of_simulated_hospitals_asks_nobody(template: Path) -> None:
    assert "ask = false" in (template / "sites" / "alder" / "policy.toml").read_text()
