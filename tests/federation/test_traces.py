"""What is left behind and what leaves: sizes read, secrets kept, times shown, and the two logs of what was said."""

import hashlib
import sqlite3
from pathlib import Path
from typing import NoReturn

import pytest
from msgspec.structs import replace

from client.audit import Audit
from client.receipts import Comparison, compare
from client.rounds import Rounds
from client.site import FORGET_S, Site
from server.aggregate import Aggregator
from server.checkpoints import Checkpoints
from server.coordinator import Coordinator
from server.receipts import Receipts
from server.run import open_run
from shared.errors import PeerError, SiteError
from shared.messages.replies import Contributed, Joined, Refused, read_reply, write_reply
from shared.messages.requests import LONGEST_JOIN, Confirm, Step, Unmask, longest_step, write_request
from shared.messages.shown import coarse_seconds
from shared.messages.tasks import Task
from shared.secagg.messages import UnmaskRequest
from shared.study import Study
from shared.wire import pack, unpack
from simulations.attacker import SURVEY, Attacker
from simulations.faults import Fault, LocalLink, Moment, altered, lost, reply_lost
from simulations.local import LocalFederation, Recorder

FREE = (
    '[privacy]\nleast = "off"\nepsilon_total = 100.0\nepsilon_per_study = 100.0\n'
    "[aggregation]\nmin_cohort = 2\ncolluders = 0\n[studies]\nask = false\n"
)


@pytest.fixture
def attacker(local: LocalFederation, private: Study) -> Attacker:
    for name in local.names:
        (local.home(name).path / "policy.toml").write_text(FREE)
    return Attacker(local.federation, dict(zip(local.names, local.sites(), strict=True)), private).join_all()


def refused(reply: object, *parts: str) -> Refused:
    assert isinstance(reply, Refused), reply
    for part in parts:
        assert part in f"{reply.reason} {reply.do} {reply.rule}"
    return reply


# Sizes


def padded(attacker: Attacker, run: str, size: int) -> bytes:
    """A step of `run` that is `size` bytes longer than its weights."""
    task = attacker.train_task(weights=memoryview(attacker.weights.tobytes() + bytes(size)))
    return attacker.request(Step(plan=attacker.plan(task, run=run), payload=memoryview(pack(Task(body=task)))))


def test_a_long_step_of_a_run_never_joined_is_not_read(attacker: Attacker) -> None:
    reply = attacker.sites["alder"].handle(padded(attacker, "never-joined", 4 * LONGEST_JOIN))
    refused(read_reply(reply), "a run this site has joined")


def test_a_step_longer_than_its_study_needs_is_not_read(attacker: Attacker) -> None:
    most = longest_step(attacker.weights.size, 3)
    reply = read_reply(attacker.sites["alder"].handle(padded(attacker, attacker.run, most)))
    refused(reply, f"at most {most} bytes")
    assert isinstance(attacker.step("alder", attacker.train_task()), Contributed), "an honest one fits"


@pytest.mark.parametrize("kind", ["join", "later"])
def test_nothing_else_is_longer_than_an_invitation(attacker: Attacker, kind: str) -> None:
    huge = replace(attacker.invitation, roster=replace(attacker.invitation.roster, roster=bytes(LONGEST_JOIN)))
    data = write_request(huge).replace(b"\xa4join", b"\xa5later" if kind == "later" else b"\xa4join")
    refused(read_reply(attacker.sites["alder"].handle(data)), f"at most {LONGEST_JOIN} bytes")


# Policy and promise at every round


@pytest.mark.parametrize(
    ("rules", "rule", "words"),
    [
        ("min_cohort = 2\ncolluders = 0\npeers = ['yew']", "aggregation.peers", "yew in it"),
        ("min_cohort = 2\ncolluders = 1", "aggregation.colluders", "though 1 hospitals work with the coordinator"),
    ],
)
def test_the_policys_no_to_a_plan_names_its_rule(
    local: LocalFederation, attacker: Attacker, rules: str, rule: str, words: str
) -> None:
    (local.home("alder").path / "policy.toml").write_text(FREE.replace("min_cohort = 2\ncolluders = 0", rules))
    reply = refused(attacker.step("alder", SURVEY), words)
    assert reply.rule == rule


def test_a_named_peer_whom_no_roster_lists_is_missed_at_once(local: LocalFederation, attacker: Attacker) -> None:
    (local.home("alder").path / "policy.toml").write_text(FREE.replace("min_cohort = 2", "peers = ['yew']"))
    reply = refused(attacker.say("alder", attacker.invitation), "roster", "yew in it")
    assert (reply.rule, reply.passing) == ("aggregation.peers", False)


def test_a_run_may_not_cost_more_than_its_study_said(local: LocalFederation, attacker: Attacker) -> None:
    """The policy would allow it; the study promised ε = 8 over two rounds, and repeated rounds are charged again."""
    task = attacker.train_task()
    for attempt in (1, 2):
        assert isinstance(attacker.step("alder", task, attacker.plan(task, attempt=attempt)), Contributed)
    reply = refused(attacker.step("alder", task, attacker.plan(task, attempt=3)), "the study's own privacy.epsilon")
    assert (reply.rule, reply.passing) == ("study.epsilon", False)


# Times


def test_a_site_that_hides_its_counts_shows_coarse_times(local: LocalFederation, attacker: Attacker) -> None:
    reply = attacker.step("alder", SURVEY)
    assert isinstance(reply, Contributed)
    assert reply.shown.counts is None
    assert reply.shown.seconds in [2.0**k for k in range(12)]


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.0, 1.0), (0.3, 1.0), (1.0, 1.0), (1.01, 2.0), (5.0, 8.0), (8.0, 8.0), (100.0, 128.0)]
)
def test_the_grid_of_times_is_public(seconds: float, shown: float) -> None:
    assert coarse_seconds(seconds) == shown


# Secrets


def secrets(local: LocalFederation) -> list[bytes | None]:
    with sqlite3.connect(local.home("alder").path / "rounds.sqlite") as db:
        rows = db.execute("SELECT secrets FROM plan ORDER BY attempt").fetchall()
    db.close()
    return [row[0] for row in rows]


def test_secrets_of_a_discarded_plan_are_deleted_and_help_nobody(local: LocalFederation, attacker: Attacker) -> None:
    collector = attacker.settled(SURVEY, attacker.plan(SURVEY, attempt=1), tuple(attacker.sites))
    (kept,) = secrets(local)
    assert kept is not None
    assert isinstance(attacker.step("alder", SURVEY, attacker.plan(SURVEY, attempt=2)), Contributed)
    assert [each is None for each in secrets(local)] == [True, False]
    honest = unpack(UnmaskRequest, collector.request("alder"))
    refused(attacker.ask_unmask("alder", honest), "the newest plan of its run", "a later plan has replaced")
    on_disk = b"".join(path.read_bytes() for path in local.home("alder").path.glob("rounds.sqlite*"))
    assert kept not in on_disk, "neither in the file nor in its log"


def test_a_run_key_unused_for_long_is_deleted_for_good(local: LocalFederation, attacker: Attacker) -> None:
    path = local.home("alder").path / "rounds.sqlite"
    rounds = Rounds(path)
    state = rounds.run(attacker.run)
    assert state is not None
    assert rounds.forget(FORGET_S) == 0
    with sqlite3.connect(path) as db:
        db.execute("UPDATE used SET at = at - ?", (int(FORGET_S) + 1,))
    db.close()
    Site(local.home("alder"))  # a start looks
    with pytest.raises(PeerError, match="whose key this site has deleted"):
        rounds.run(attacker.run)
    refused(attacker.step("alder", SURVEY), "Start a new run")
    refused(attacker.say("alder", attacker.invitation), "Start a new run")
    on_disk = b"".join(each.read_bytes() for each in local.home("alder").path.glob("rounds.sqlite*"))
    assert state.key.private not in on_disk
    attacker.run = "new"
    assert isinstance(attacker.say("alder", attacker.invitation), Joined)


def test_a_run_in_use_is_not_forgotten(local: LocalFederation, attacker: Attacker) -> None:
    path = local.home("alder").path / "rounds.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("UPDATE used SET at = at - ?", (int(FORGET_S) + 1,))
    db.close()
    attacker.step("alder", SURVEY)
    assert Rounds(path).forget(FORGET_S) == 0


# The log of what left


def log(local: LocalFederation, name: str = "alder") -> Audit:
    return Audit(local.home(name).path / "audit.jsonl")


def test_every_reply_is_in_the_log_before_it_leaves(local: LocalFederation, attacker: Attacker) -> None:
    site, plan = attacker.sites["alder"], attacker.plan(SURVEY)
    closed = attacker.contributions(SURVEY, plan, local.names)
    requests = {
        "join": write_request(attacker.invitation),
        "survey": attacker.request(Step(plan=attacker.plan(SURVEY), payload=memoryview(pack(Task(body=SURVEY))))),
        "confirm": attacker.request(Confirm(request=closed.ask_confirm("alder"))),
        "unmask": attacker.request(Unmask(request=attacker.settled(SURVEY, plan, local.names).request("alder"))),
        "refusal": b"nonsense",
    }
    for purpose, request in requests.items():
        reply = site.handle(request)
        last = list(log(local).entries())[-1]
        facts = last.facts
        assert (last.event, facts["purpose"], facts["bytes"]) == ("sent", purpose, len(reply))
        assert facts["digest"] == hashlib.sha256(reply).hexdigest()
        assert facts["run"] == ("" if purpose == "refusal" else attacker.run)
        assert facts["round"] == (1 if purpose in ("survey", "confirm", "unmask") else 0)


def test_a_full_disk_lets_nothing_leave_but_the_refusal_that_says_so(
    attacker: Attacker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> NoReturn:
        raise SiteError("audit log", expected="its next line on disk", got="No space left", do="Free space.")

    monkeypatch.setattr(Audit, "record", full)
    bodies = (attacker.invitation, Step(plan=attacker.plan(SURVEY), payload=memoryview(pack(Task(body=SURVEY)))))
    for body in bodies:
        refused(attacker.say("alder", body), "audit log", "its next line on disk", "Free space.")


def test_a_decision_for_every_step_is_in_the_log(local: LocalFederation, attacker: Attacker) -> None:
    attacker.step("alder", attacker.train_task())
    events = [entry.event for entry in log(local).entries()]
    assert events == ["joined", "sent", "prepared", "reserved", "gradients", "answered", "sent"]


# The coordinator's log against the hospitals'


def run_with_receipts(local: LocalFederation, study: Study, faults: dict[Moment, Fault]) -> Path:
    study = replace(study, federation=replace(study.federation, timeout_s=0.1))
    start = open_run(local.folder / "run", study, resume=False)
    path = local.folder / "run" / "receipts.jsonl"
    aggregator = Aggregator(
        LocalLink(local.sites(), faults),
        local.federation.invitation(start.identity.run, study),
        local.federation.roster,
        local.federation.operator,
        receipts=Receipts(path),
    )
    Coordinator(aggregator, Checkpoints(local.folder / "run" / "checkpoints"), Recorder(), start=1).run(start.begin)
    return path


def compared(local: LocalFederation, path: Path, name: str) -> Comparison:
    return compare(name, log(local, name).entries(), Receipts(path).lines())


def test_the_logs_of_an_honest_run_agree(local: LocalFederation, study: Study) -> None:
    path = run_with_receipts(local, study, {})
    for name in local.names:
        found = compared(local, path, name)
        assert (found.alarms, found.lost) == ((), ())
        assert found.matched == 1 + 3 * (1 + 2 + 2 + 1), "a join; survey, two rounds, test: each confirmed and unmasked"


def test_a_lost_reply_is_known_as_lost(local: LocalFederation, study: Study) -> None:
    path = run_with_receipts(local, study, {Moment(0, "train", 1): reply_lost, Moment(1, "train", 1): lost})
    assert [compared(local, path, name).alarms for name in local.names] == [(), (), ()]
    assert all("train of run" in line for line in compared(local, path, "alder").lost)
    assert compared(local, path, "alder").lost != ()


def test_a_reply_changed_on_the_way_is_an_alarm(local: LocalFederation, study: Study) -> None:
    path = run_with_receipts(local, study, {Moment(1, "train", 1): altered(1)})
    found = compared(local, path, "birch")
    assert ["that this hospital never sent" in alarm for alarm in found.alarms] == [True]
    assert compared(local, path, "alder").alarms == ()


def test_a_reply_in_another_hospitals_name_is_an_alarm_there(local: LocalFederation, study: Study) -> None:
    slander = write_reply(Refused(what="no", expected="", got="", do="", rule="x", site="alder"))
    path = run_with_receipts(local, study, {Moment(2, "join"): lambda _request, _serve: slander})
    # Alder answers first and is known by then; the forged refusal still claims its name, and the log keeps the claim.
    assert len(compared(local, path, "alder").alarms) == 1


def test_hospitals_that_refuse_are_in_both_logs(local: LocalFederation, study: Study) -> None:
    (local.home("cedar").path / "policy.toml").write_text("[studies]\nask = false\n")
    path = run_with_receipts(local, study, {})
    found = compared(local, path, "cedar")
    assert (found.matched, found.alarms, found.lost) == (1, (), ())
    assert [line.purpose for line in Receipts(path).lines() if line.site == "cedar"] == ["refusal"]
