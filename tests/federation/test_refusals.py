"""Attacks on a real hospital: each must end in the right refusal, with nothing charged and nothing left behind."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

import client.doing
import shared.wire
from client.audit import Audit
from client.home import Home
from client.ledger import Ledger
from client.refusals import LONGEST_PART
from client.site import Site
from shared.errors import InputError, OperatorError, PeerError, SiteError
from shared.messages.replies import Answered, Contributed, Joined, Refused, read_reply
from shared.messages.requests import AnyRequest, Confirm, Step, Unmask
from shared.messages.tasks import AnyTask, EvaluateTask, Task
from shared.messages.version import VERSION
from shared.secagg.collector import Collector
from shared.secagg.messages import Contribution, UnmaskRequest
from shared.secagg.plan import Plan
from shared.study import MINIMAL, Study, parse_study
from shared.update import Codec
from shared.wire import pack, unpack
from simulations import invitation_attacks, plan_attacks, unmask_attacks
from simulations.attacker import SURVEY, Attacker, masked_sum
from simulations.local import LocalFederation

PRIVATE = MINIMAL.replace(
    'mode = "off"',
    'mode = "local"\nepsilon = 8.0\ndelta = 1e-5\nclip = 1.0\nsampling_rate = 0.5\n[aggregation]\ncolluders = 0',
)
OPEN = (
    '[privacy]\nleast = "off"\nepsilon_total = 100.0\nepsilon_per_study = 100.0\n'
    "[aggregation]\nmin_cohort = 2\ncolluders = 0\n"
)


NO_ASKING = "[studies]\nask = false\n"


def set_policy(local: LocalFederation, text: str, name: str = "alder", *, studies: str = NO_ASKING) -> None:
    (local.home(name).path / "policy.toml").write_text(f"{text}\n{studies}")


@pytest.fixture
def sites(local: LocalFederation) -> dict[str, Site]:
    return dict(zip(local.names, local.sites(), strict=True))


@pytest.fixture
def attacker(local: LocalFederation, sites: dict[str, Site], private: Study) -> Attacker:
    for name in local.names:
        set_policy(local, OPEN, name)
    return Attacker(local.federation, sites, private).join_all()


@pytest.fixture
def stranger(local: LocalFederation, sites: dict[str, Site], private: Study) -> Attacker:
    """Before anybody has joined this run; the roster in force is known."""
    local.home("alder").remember_roster(local.federation.roster.version)
    return Attacker(local.federation, sites, private)


@pytest.fixture
def untouched(local: LocalFederation) -> Iterator[None]:
    """The body of the test leaves nothing behind at alder: no run, no plan, no charge, no newer roster."""
    before = memory(local.home("alder"))
    yield
    assert memory(local.home("alder")) == before


@pytest.fixture(scope="module")
def lasting(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Attacker:
    """One run for all attacks that leave nothing behind."""
    folder = tmp_path_factory.mktemp("lasting")
    for part in ("federation", "sites"):
        shutil.copytree(template / part, folder / part)
    local = LocalFederation(folder, [home.name for home in sorted((folder / "sites").iterdir())])
    sites = dict(zip(local.names, local.sites(), strict=True))
    colluders = {"cedar": local.home("cedar")}
    return Attacker(local.federation, sites, parse_study(PRIVATE), colluders=colluders).join_all()


@pytest.fixture
def unmoved(lasting: Attacker) -> Iterator[Attacker]:
    """The lasting attacker; afterwards nothing of the test is left behind at alder."""
    home = Home(lasting.federation.path.parent / "sites" / "alder")
    before = memory(home)
    yield lasting
    assert memory(home) == before


def memory(home: Home) -> tuple[object, ...]:
    found: list[object] = [home.last_roster]
    for file, tables in (("rounds", ("run", "plan")), ("ledger", ("charge", "cohort", "member"))):
        with sqlite3.connect(home.path / f"{file}.sqlite") as db:
            found += [db.execute(f"SELECT * FROM {table}").fetchall() for table in tables]  # noqa: S608
        db.close()
    return tuple(found)


def charges(local: LocalFederation, run: str = "attacked") -> int:
    return len(Ledger(local.home("alder").path / "ledger.sqlite").events(run))


def refused(reply: object, *parts: str) -> Refused:
    """`reply` is a refusal whose sentence holds `parts`."""
    assert isinstance(reply, Refused), reply
    for part in parts:
        assert part in f"{reply.reason} {reply.do} {reply.rule}"
    assert reply.site == "alder"
    return reply


# Step 0: invitations

INVITATIONS = {
    "a study not signed by the roster's operator": ("signature for konsil/study/v1", "got another or none"),
    "a signature given for another run": ("signature for konsil/study/v1",),
    "a study changed after it was signed": ("signature for konsil/study/v1",),
    "a roster signed by another root": ("signature for konsil/roster/v1", "expected one by key"),
    "an expired roster": ("expected valid at", "set this host's clock"),
    "a roster without the site": ("site 'alder'", "got an unknown name"),
    "a roster with another key for the site": ("this site's own identity key", "Ask to be admitted anew."),
}


@pytest.mark.parametrize("name", invitation_attacks.INVITATIONS)
def test_a_hostile_invitation_is_refused(unmoved: Attacker, name: str) -> None:
    invitation = invitation_attacks.INVITATIONS[name](unmoved, "alder")
    refused(unmoved.say("alder", invitation), *INVITATIONS[name])


def test_a_roster_older_than_one_seen_is_refused(local: LocalFederation, stranger: Attacker) -> None:
    old = stranger.federation.invitation("old", stranger.study)
    keys = {name: local.home(name).identity.public for name in ("alder", "birch")}
    stranger.federation.enroll(keys)
    assert isinstance(stranger.say("alder", stranger.invitation), Joined)
    before = memory(local.home("alder"))
    refused(stranger.say("alder", old), "roster", "expected version 2 or later, got 1")
    assert memory(local.home("alder")) == before


def test_another_study_under_the_same_run_is_refused(attacker: Attacker, private: Study, untouched: None) -> None:
    attacker.study = replace(private, name="other")
    refused(attacker.say("alder", attacker.invitation), "join", "the study this run was joined with", "got another")


def test_joining_twice_gives_the_same_key(attacker: Attacker, untouched: None) -> None:
    again = attacker.say("alder", attacker.invitation)
    assert isinstance(again, Joined)
    assert again.record == attacker.records["alder"]


@pytest.mark.parametrize(
    ("policy", "parts"),
    [
        ("[privacy]\n", ("sums over at least 3 hospitals", "federation.min_sites = 2", "aggregation.min_cohort")),
        ("[privacy]\ndelta = 1e-9\n", ("delta of at most 1e-09", "got 1e-05", "privacy.delta")),
        ("[privacy]\nmin_noise_multiplier = 50.0\n", ("a noise multiplier of at least 50", "min_noise_multiplier")),
    ],
)
def test_what_the_policy_forbids_is_refused_at_join(
    local: LocalFederation, stranger: Attacker, policy: str, parts: tuple[str, ...], untouched: None
) -> None:
    set_policy(local, policy)
    refused(stranger.say("alder", stranger.invitation), "this hospital's policy", *parts)


def test_a_study_without_privacy_is_refused_where_the_policy_forbids_it(
    local: LocalFederation, stranger: Attacker, study: Study, untouched: None
) -> None:
    set_policy(local, "[aggregation]\nmin_cohort = 2\ncolluders = 0\n")
    stranger.study = study
    refused(stranger.say("alder", stranger.invitation), "privacy of mode", "privacy.least")


# Step 1: plans

PLANS = {
    "a run never joined": ("a run this site has joined", "got another"),
    "another study's hash": ("run 'attacked' as joined", "another study"),
    "another roster's hash": ("run 'attacked' as joined", "another study"),
    "another step's name": ("plan's step", "expected train, got evaluate"),
    "a payload other than the plan's digest": ("plan's payload", "got 66687aadf862bd77"),
    "a vector length not the model's": ("plan's length", "got 7"),
    "another number of counts": ("plan's counts", "expected 6, got 7"),
    "another number of bits": ("plan's bits", "expected 32, got 16"),
    "no quantizer": ("plan's quantizer",),
    "a quantizer not the study's": ("plan's quantizer", "expected "),
    "threshold below a majority": ("Expected `int` >= 2", "threshold"),
    "threshold above the cohort": ("plan's threshold", "expected 2, got 4"),
    "threshold of another fraction": ("plan's threshold", "expected 2, got 3"),
    "another number of colluders": ("plan's colluders", "expected 0, got 1"),
    "a weaker adversary than the study's": ("plan's adversary", "expected active, got semi-honest"),
    "the site not in the cohort": ("cohort", "alder with the run key it joined by", "got none"),
    "a member no roster lists": ("site 'zelkova-0'", "got an unknown name"),
    "members with forged keys": ("signature for konsil/join/v1", "got another or none"),
    "sybils that no roster lists": ("site 'zelkova-0'", "got an unknown name"),
    "a peer's run key replaced": ("signature for konsil/join/v1", "got another or none"),
    "the site's own key listed for a peer": ("a run key of its own for each site", "one key for alder, cedar"),
    "a peer's key listed twice": ("a run key of its own for each site", "one key for birch, cedar"),
    "a peer's record of another run": ("join record of cedar", "run 'attacked' with its study and roster"),
    "a peer with a low-order key": ("public key of cedar", "a point of high order", "low order"),
    "a member twice": ("cohort", "each site once, sorted by name"),
    "members in disorder": ("cohort", "each site once, sorted by name"),
    "an empty cohort": ("Expected `array` of length >= 2", "cohort"),
}


@pytest.mark.parametrize("name", plan_attacks.PLANS)
def test_a_hostile_plan_is_refused(unmoved: Attacker, name: str) -> None:
    task = unmoved.train_task()
    plan = plan_attacks.PLANS[name](unmoved, "alder", unmoved.plan(task))
    refused(unmoved.step("alder", task, plan), *PLANS[name])


TASKS = {
    "round 0": ("train task", "a round from 1 to 2", "got 0"),
    "a round after the last": ("train task", "a round from 1 to 2", "got 3"),
    "class weights not the study's": ("train task", "class weights (1.0, 1.0)", "got (1000000.0, 1.0)"),
    "class weights that are no numbers": ("train task", "class weights (1.0, 1.0)", "got (nan, 1.0)"),
    "too few weights": ("weights", "finite numbers", "bytes, or others"),
    "too many weights": ("Request message", "expected at most", "bytes"),
    "weights with a NaN": ("weights", "finite numbers", "bytes, or others"),
    "weights with an infinity": ("weights", "finite numbers", "bytes, or others"),
    "no weights at all": ("weights", "finite numbers", "got 0 bytes"),
}


@pytest.mark.parametrize("name", plan_attacks.TASKS)
def test_a_hostile_task_is_refused_and_costs_no_patient(unmoved: Attacker, name: str) -> None:
    task, round_ = plan_attacks.TASKS[name](unmoved)
    refused(unmoved.step("alder", task, unmoved.plan(task, round_=round_)), *TASKS[name])


@pytest.mark.parametrize("split", [0, -1, 3, 2**40])
def test_only_held_out_patients_are_evaluated(unmoved: Attacker, split: int) -> None:
    reply = unmoved.step("alder", unmoved.evaluate_task(split))
    refused(reply, "evaluate task", "the validation or the test split", f"got {split}")


@pytest.mark.parametrize(
    ("rules", "parts"),
    [
        ("min_cohort = 4", ("policy", "sums over at least 4 hospitals", "aggregation.min_cohort")),
        ('min_cohort = 2\npeers = ["yew"]', ("cohort", "yew in it", "got none of that name")),
    ],
)
def test_a_policy_tightened_after_the_join_holds_at_once(
    local: LocalFederation, attacker: Attacker, rules: str, parts: tuple[str, ...], untouched: None
) -> None:
    set_policy(local, OPEN.replace("min_cohort = 2", rules))
    refused(attacker.step("alder", attacker.train_task()), *parts)


def test_privacy_demanded_after_the_join_stops_a_study_without_it(
    local: LocalFederation, stranger: Attacker, study: Study
) -> None:
    stranger.study = study
    stranger.join_all()
    set_policy(local, "[aggregation]\nmin_cohort = 2\ncolluders = 0\n")
    before = memory(local.home("alder"))
    refused(stranger.step("alder", stranger.train_task()), "privacy.least")
    assert memory(local.home("alder")) == before


def test_a_cohort_below_the_policy_is_refused(attacker: Attacker, local: LocalFederation, changed: Any) -> None:
    """The study promises enough hospitals; the plan then brings two."""
    three = changed("min_sites = 2", "min_sites = 3")
    set_policy(local, OPEN.replace("min_cohort = 2", "min_cohort = 3"))
    attacker.study, attacker.run = three, "three"
    attacker.join_all()
    task = attacker.train_task()
    two = plan_attacks.without_the_site(attacker, "cedar", attacker.plan(task))
    before = memory(local.home("alder"))
    refused(attacker.step("alder", task, two), "cohort", "at least 3 sites", "got 2")
    assert memory(local.home("alder")) == before


def test_a_budget_that_the_round_would_pass_is_refused_before_training(
    local: LocalFederation, attacker: Attacker, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_policy(local, "[privacy]\nepsilon_total = 0.5\n[aggregation]\nmin_cohort = 2\ncolluders = 0\n")
    monkeypatch.setattr(client.doing, "train_round", never)
    refused(attacker.step("alder", attacker.train_task()), "privacy budget", "0.5 per patient", "privacy.epsilon_total")
    assert charges(local) == 0


def never(*_: object, **__: object) -> None:
    raise AssertionError("a hostile or repeated plan reached training")


def test_a_replayed_plan_gives_the_same_bytes_one_charge_and_no_second_training(
    local: LocalFederation, attacker: Attacker, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = attacker.train_task()
    request = attacker.request(Step(plan=attacker.plan(task), payload=memoryview(pack(Task(body=task)))))
    first = attacker.sites["alder"].handle(request)
    assert isinstance(read_reply(first), Contributed)
    monkeypatch.setattr(client.doing, "train_round", never)
    restarted = Site(local.home("alder"))
    assert attacker.sites["alder"].handle(request) == restarted.handle(request) == first
    assert charges(local) == 1


@pytest.mark.parametrize(
    ("later", "parts"),
    [
        ((1, 5), ("an attempt after 5, round 1 or later", "got 5, 1")),
        ((1, 4), ("an attempt after 5, round 1 or later", "got 4, 1")),
        ((0, 6), ("an attempt after 5, round 1 or later", "got 6, 0")),
    ],
)
def test_an_older_attempt_or_round_is_refused(
    local: LocalFederation, attacker: Attacker, later: tuple[int, int], parts: tuple[str, ...]
) -> None:
    assert isinstance(attacker.step("alder", SURVEY, attacker.plan(SURVEY, round_=1, attempt=5)), Contributed)
    before = memory(local.home("alder"))
    task = attacker.train_task()
    refused(attacker.step("alder", task, attacker.plan(task, round_=later[0], attempt=later[1])), *parts)
    assert memory(local.home("alder")) == before


def test_a_plan_that_a_later_one_replaced_is_not_answered_again(attacker: Attacker) -> None:
    first, second = (attacker.plan(SURVEY, attempt=attempt) for attempt in (1, 2))
    for plan in (first, second):
        assert isinstance(attacker.step("alder", SURVEY, plan), Contributed)
    refused(attacker.step("alder", SURVEY, first), "the newest plan of its run", "a later plan has replaced")


# Step 3: unmask requests

UNMASKS = {
    "too few survivors": ("survivors", "at least 2 sites", "got 1"),
    "no survivors": ("survivors", "alder in them"),
    "survivors without the site": ("survivors", "alder in them"),
    "a survivor twice": ("survivors", "once, sorted"),
    "survivors in disorder": ("survivors", "once, sorted"),
    "a survivor who is not of the cohort": ("survivors", "members of the cohort"),
    "a plan nobody contributed to": ("a plan this site contributed to",),
    "the request meant for a peer": ("the stored plan and alder", "got another"),
    "bundles in another order": ("bundle from birch to alder", "got a wrong tag"),
    "a bundle cut short": ("bundle from birch to alder", "got a wrong tag"),
    "an empty bundle": ("bundle from birch to alder", "at least 28 bytes", "got 0 bytes"),
    "a bundle changed": ("bundle from birch to alder", "got a wrong tag"),
    "one bundle twice": ("bundle from cedar to alder", "got a wrong tag"),
    "a bundle too few": ("expected 2 bundles", "got 1"),
    "a bundle too many": ("expected 2 bundles", "got 3"),
}


@pytest.fixture
def settled(attacker: Attacker) -> Collector:
    """A survey that all three answered and birch and cedar confirmed, ready to be unmasked."""
    return attacker.settled(SURVEY, attacker.plan(SURVEY), tuple(attacker.sites), confirmers=("birch", "cedar"))


@pytest.mark.parametrize("name", unmask_attacks.UNMASKS)
def test_a_hostile_unmask_request_is_refused_and_an_honest_one_still_served(
    attacker: Attacker, settled: Collector, local: LocalFederation, name: str
) -> None:
    before = memory(local.home("alder"))
    honest = unpack(UnmaskRequest, settled.request("alder"))
    hostile = unmask_attacks.UNMASKS[name](attacker, "alder", honest)
    refused(attacker.ask_unmask("alder", hostile), *UNMASKS[name])
    assert memory(local.home("alder")) == before
    assert isinstance(attacker.ask_unmask("alder", honest), Answered)


def test_one_unmask_request_per_plan_ever(local: LocalFederation, attacker: Attacker, settled: Collector) -> None:
    honest = unpack(UnmaskRequest, settled.request("alder"))
    without_cedar = unmask_attacks.only("alder", "birch")(attacker, "alder", honest)
    first = attacker.ask_unmask("alder", honest)
    refused(attacker.ask_unmask("alder", without_cedar), "the ones this site settled on", "got others")
    attacker.sites = {**attacker.sites, "alder": Site(local.home("alder"))}
    assert attacker.ask_unmask("alder", honest) == first
    refused(attacker.ask_unmask("alder", without_cedar), "the ones this site settled on", "got others")


def test_survivors_without_a_named_peer_are_refused(local: LocalFederation, attacker: Attacker) -> None:
    """A policy tightened in the middle of a round: the survivors are neither confirmed nor unmasked."""
    strict = OPEN.replace("min_cohort = 2", 'min_cohort = 2\npeers = ["cedar"]')
    plan = attacker.plan(SURVEY)
    attacker.contributions(SURVEY, plan, tuple(attacker.sites))
    two = attacker.contributions(SURVEY, plan, ("alder", "birch"))
    set_policy(local, strict)
    refused(attacker.say("alder", Confirm(request=two.ask_confirm("alder"))), "survivors", "cedar in it")
    set_policy(local, OPEN)
    attacker.confirm(two, ("alder", "birch"))
    set_policy(local, strict)
    refused(attacker.say("alder", Unmask(request=two.request("alder"))), "survivors", "cedar in it")


def test_secrets_are_gone_once_the_sum_is_open(local: LocalFederation, attacker: Attacker, settled: Collector) -> None:
    attacker.ask_unmask("alder", unpack(UnmaskRequest, settled.request("alder")))
    (row,) = sqlite3.connect(local.home("alder").path / "rounds.sqlite").execute("SELECT secrets FROM plan").fetchall()
    assert row == (None,)


# Two sites given different models


def test_sites_given_different_models_share_no_mask_and_their_sum_opens_to_nothing(
    attacker: Attacker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alder gets a model of its own; the attacker adds its vector to birch's and cedar's all the same."""
    mine, theirs = attacker.train_task(), attacker.train_task(weights=memoryview((attacker.weights + 1).tobytes()))
    plan, other = attacker.plan(mine), attacker.plan(theirs)
    assert plan.digest() != other.digest()
    alone = attacker.step("alder", mine, plan)
    rest = [attacker.step(name, theirs, other) for name in ("birch", "cedar")]
    contributions = [reply for reply in (alone, *rest) if isinstance(reply, Contributed)]
    assert len(contributions) == 3
    collector = Collector(other, attacker.federation.roster)
    for reply in contributions[1:]:
        collector.add(reply.contribution, reply.vector)
    with pytest.raises(PeerError, match="expected plan"):
        collector.add(contributions[0].contribution, contributions[0].vector)
    masked = [(unpack(Contribution, reply.contribution), reply.vector) for reply in contributions]
    monkeypatch.setattr(collector, "_sum", masked_sum(other, masked))
    collector.close()
    attacker.confirm(collector, ("birch", "cedar"))
    for name in ("birch", "cedar"):
        answer = attacker.ask_unmask(name, unpack(UnmaskRequest, collector.request(name)))
        assert isinstance(answer, Answered)
        collector.answer(answer.answer)
    total = collector.finish()  # the masks of birch and cedar are off; alder's are not
    codec = Codec.of(attacker.study, cohort=3, parameters=attacker.weights.size, seed=other.payload)
    with pytest.raises(OperatorError, match="unmasked sum"):
        codec.read(total, 2, attacker.study.federation.max_images)
    assert total.words.view(np.int32).std() > 2**30, "uniform noise, not an update"
    refused(attacker.ask_unmask("alder", unpack(UnmaskRequest, collector_request(collector, other))), "contributed to")


def collector_request(collector: Collector, plan: Plan) -> bytes:
    """A request to alder for a plan it never answered."""
    return pack(UnmaskRequest(plan=plan.digest(), site="alder", survivors=("alder", "birch"), bundles=(b"",)))


# What is no message, or no message of ours


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        (b"", ("_Version message", "got 0 bytes")),
        (b"\xc1", ("_Version message",)),
        (b"\x91" * 100_000, ("_Version message",)),
        (
            msgspec.msgpack.encode({"version": 9, "body": {"type": "later"}}),
            ("message version", f"expected {VERSION}, got 9"),
        ),
        (msgspec.msgpack.encode({"body": {"type": "join"}}), ("missing required field `version`",)),
        (
            msgspec.msgpack.encode({"version": VERSION, "body": {"type": "pickle"}}),
            ("Invalid value 'pickle'",),
        ),
        (
            msgspec.msgpack.encode({"version": VERSION, "body": {"type": "unmask", "request": b"", "x": 1}}),
            ("`x`",),
        ),
    ],
)
def test_what_is_no_message_is_refused(unmoved: Attacker, data: bytes, parts: tuple[str, ...]) -> None:
    refused(read_reply(unmoved.sites["alder"].handle(data)), *parts)


def test_an_oversized_message_is_refused_unread(
    stranger: Attacker, monkeypatch: pytest.MonkeyPatch, untouched: None
) -> None:
    monkeypatch.setattr(shared.wire.unpack, "__kwdefaults__", {"limit": 1000})
    reply = stranger.sites["alder"].handle(bytes(1001))
    monkeypatch.undo()
    refused(read_reply(reply), "expected at most 1000 bytes, got 1001 bytes")


@pytest.mark.parametrize("hostile", ["x" * 200_000, "\n\r\u2028\x00\x1b[31m" * 20_000, "é" * 100_000])
def test_words_from_outside_are_kept_short_and_do_not_break_the_audit_log(
    local: LocalFederation, stranger: Attacker, hostile: str
) -> None:
    site = stranger.sites["alder"]
    for body in ({"type": hostile}, {"type": "unmask", hostile: b""}):
        reply = site.handle(msgspec.msgpack.encode({"version": VERSION, "body": body}))
        found = refused(read_reply(reply))
        assert all(len(part) <= LONGEST_PART for part in (found.what, found.expected, found.got, found.do))
    audit = Audit(local.home("alder").path / "audit.jsonl")
    assert audit.verify() == 4, "what was refused, and the bytes that said so, twice"
    assert isinstance(stranger.say("alder", stranger.invitation), Joined), "the site still works"


@pytest.fixture
def real(attacker: Attacker) -> list[bytes]:
    """One honest request of each kind; the hospital has answered none but what came before the last two."""
    plan, names = attacker.plan(SURVEY), tuple(attacker.sites)
    closed = attacker.contributions(SURVEY, plan, names)
    settled = attacker.settled(SURVEY, plan, names, confirmers=("birch", "cedar"))
    tasks = (attacker.train_task(), attacker.evaluate_task(1))
    steps = [Step(plan=attacker.plan(task, attempt=9), payload=memoryview(pack(Task(body=task)))) for task in tasks]
    bodies: list[AnyRequest] = [
        attacker.invitation,
        *steps,
        Confirm(request=closed.ask_confirm("alder")),
        Unmask(request=settled.request("alder")),
    ]
    return [attacker.request(body) for body in bodies]


QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUICK
@given(data=st.binary(max_size=200))
def test_random_bytes_always_get_a_refusal(attacker: Attacker, data: bytes) -> None:
    refused(read_reply(attacker.sites["alder"].handle(data)))


@QUICK
@given(which=st.integers(0, 4), data=st.data())
def test_a_real_message_with_changed_bytes_always_gets_a_reply(
    attacker: Attacker, real: list[bytes], which: int, data: st.DataObject
) -> None:
    request = bytearray(real[which])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(request) - 1))
        request[place] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del request[data.draw(st.integers(0, len(request) - 1)) :]
    read_reply(attacker.sites["alder"].handle(bytes(request)))


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=40),
    st.lists(st.integers(-9, 9), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(0, 9), max_size=2),
)


@QUICK
@given(which=st.integers(0, 4), value=VALUES, data=st.data())
def test_a_real_message_with_one_field_of_another_value_always_gets_a_reply(
    attacker: Attacker, real: list[bytes], which: int, value: object, data: st.DataObject
) -> None:
    tree = msgspec.msgpack.decode(real[which])
    places = list(leaves(tree))
    holder, key = data.draw(st.sampled_from(places))
    holder[key] = value
    read_reply(attacker.sites["alder"].handle(msgspec.msgpack.encode(tree)))


def leaves(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in nested dicts and lists that can be assigned to."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield tree, key
        if isinstance(value, dict | list):
            yield from leaves(value)


def test_weights_that_overflow_the_model_give_a_reply_and_no_exception(attacker: Attacker) -> None:
    """Finite weights, so large that every score is not a number."""
    huge = memoryview(np.full(attacker.weights.size, 3e38, np.float32).tobytes())
    evaluate = EvaluateTask(weights=huge, split=1)
    tasks: tuple[AnyTask, ...] = (evaluate, attacker.train_task(weights=huge))
    for attempt, task in enumerate(tasks):
        reply = attacker.step("alder", task, attacker.plan(task, attempt=attempt + 1))
        assert isinstance(reply, Refused | Contributed)


# What a refusal tells


def test_trouble_of_the_house_is_told_without_path_count_or_name(
    local: LocalFederation, attacker: Attacker, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "MUELLER^HANS"
    path = f"/srv/pacs/{secret}.dcm"
    troubles: list[Exception] = [
        InputError(
            f"archive {path}", expected="at least one image", got="none of 37 files: 36 no_label", do=f"See {path}."
        ),
        SiteError("training images", expected="at most 1000", got="1234", do="Ask."),
        OSError(13, "Permission denied", path),
        ValueError(secret),
        MemoryError(),
        sqlite3.IntegrityError(secret),
    ]
    for trouble in troubles:
        monkeypatch.setattr(client.doing, "survey", raising(trouble))
        found = attacker.step("alder", SURVEY, attacker.plan(SURVEY))
        text = str(refused(found))
        assert not any(word in text for word in (secret, "srv", "37", "36", "1234"))
    log = (local.home("alder").path / "audit.jsonl").read_text()
    assert "got 1234" in log, "the hospital's own people see it"
    assert "PermissionError in test_refusals.py" in log


def raising(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_a_site_whose_log_cannot_be_written_sends_no_vector_and_does_not_fall_over(
    attacker: Attacker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Audit, "record", raising(OSError(28, "No space left on device")))
    for task in (attacker.train_task(), SURVEY):
        refused(attacker.step("alder", task), "this hospital's Konsil")


def test_nothing_that_holds_a_secret_shows_it(attacker: Attacker) -> None:
    attacker.step("alder", SURVEY)
    site = attacker.sites["alder"]
    state = site._rounds.run("attacked")
    answer = site._rounds.answer(attacker.plan(SURVEY).digest(), ())
    assert state is not None
    assert answer.secrets is not None
    for shown in (repr(state), repr(answer), repr(site._rounds.joined("attacked"))):
        assert repr(state.key.private) not in shown
        assert not any(repr(seed) in shown for seed in answer.secrets.seeds if seed)
