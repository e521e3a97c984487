"""Mode "distributed" under a coordinator that holds the operator's true key: what hospitals refuse."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from client.ledger import Ledger
from client.site import Site
from server.federation import Federation
from shared.accounting import evaluation_event, noise_multiplier, round_event
from shared.errors import InputError
from shared.mechanism import Mechanism
from shared.messages.replies import Answered, Contributed, Joined, Refused, read_reply
from shared.messages.requests import Confirm, Step
from shared.messages.tasks import AnyTask, Task, TrainTask, payload_digest
from shared.noisy_sum import mechanism_of
from shared.secagg.collector import Collector
from shared.secagg.messages import UnmaskRequest
from shared.secagg.plan import Plan
from shared.study import Study, parse_study
from shared.wire import pack, unpack
from simulations.attacker import Attacker
from simulations.faults import LocalLink
from simulations.local import LocalFederation
from simulations.wards import Releases, found, site_of, ward
from tests.federation.five import HONEST, NAMES, POLICY, STUDY

NOISY = f"{STUDY}[evaluation]\nevery = 2\nepsilon = 4.0\ndelta = 1e-5\n"
FIXED = parse_study(NOISY)
ADAPTIVE = parse_study(NOISY.replace("sampling_rate = 0.5", "sampling_rate = 0.5\nclip_quantile = 0.5"))
EXACT = parse_study(NOISY.replace("every = 2\nepsilon = 4.0\ndelta = 1e-5", "every = 1"))


class World:
    """Five hospitals, new each time."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._numbers = folder, count()

    def local(self) -> LocalFederation:
        return found(self._folder / str(next(self._numbers)), NAMES, POLICY)


@dataclass
class Scene:
    """An attacker, the hospitals it talks to, and what they released."""

    local: LocalFederation
    attacker: Attacker
    releases: Releases

    @property
    def federation(self) -> Federation:
        return self.local.federation

    def memory(self, name: str = "alder") -> list[object]:
        """All that a hospital remembers of runs, plans and charges."""
        found: list[object] = []
        for file, tables in (("rounds", ("run", "plan")), ("ledger", ("charge", "cohort", "member"))):
            with closing(sqlite3.connect(self.local.home(name).path / f"{file}.sqlite")) as db:
                found += [db.execute(f"SELECT * FROM {table}").fetchall() for table in tables]  # noqa: S608
        return found

    def charges(self, name: str = "alder") -> int:
        return len(Ledger(self.local.home(name).path / "ledger.sqlite").events("attacked"))

    def set_policy(self, old: str, new: str, name: str = "alder") -> None:
        assert old in POLICY
        (self.local.home(name).path / "policy.toml").write_text(POLICY.replace(old, new))


Stage = Callable[[Study], Scene]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


def sites_of(local: LocalFederation, releases: Releases) -> list[Site]:
    """The five, each with twelve patients."""
    return [site_of(local, name, ward(12), releases) for name in local.names]


@pytest.fixture(scope="module")
def stage(world: World) -> Stage:
    """Five hospitals who have joined the study."""

    def make(study: Study) -> Scene:
        local, releases = world.local(), Releases()
        sites = dict(zip(NAMES, sites_of(local, releases), strict=True))
        return Scene(local, Attacker(local.federation, sites, study).join_all(), releases)

    return make


@pytest.fixture(scope="module")
def lasting(stage: Stage) -> Scene:
    """For attacks on a study with a fixed clip that leave nothing behind."""
    return stage(FIXED)


@pytest.fixture(scope="module")
def adaptive(stage: Stage) -> Scene:
    """The same with a clip that adapts."""
    return stage(ADAPTIVE)


@pytest.fixture(params=["lasting", "adaptive"])
def unmoved(request: pytest.FixtureRequest) -> Iterator[Scene]:
    """Either; afterwards alder has released nothing and remembers nothing of the test."""
    scene: Scene = request.getfixturevalue(request.param)
    before, released = scene.memory(), len(scene.releases.by)
    yield scene
    assert scene.memory() == before
    assert len(scene.releases.by) == released


def refused(reply: object, *parts: str) -> Refused:
    assert isinstance(reply, Refused), reply
    for part in parts:
        assert part in f"{reply.reason} {reply.do} {reply.rule}"
    return reply


def step(scene: Scene, name: str, task: AnyTask, plan: Plan) -> object:
    """What a hospital says to a plan that names this very task."""
    named = replace(plan, payload=payload_digest(pack(Task(body=task))))
    return scene.attacker.say(name, Step(plan=named, payload=memoryview(pack(Task(body=task)))))


def promised(scene: Scene, cohort: int = len(NAMES), clip: float = 1.0) -> Mechanism:
    """The mechanism that honest hospitals work out."""
    attacker = scene.attacker
    return mechanism_of(attacker.study, clip=clip, cohort=cohort, parameters=attacker.weights.size)


def with_mechanism(plan: Plan, mechanism: Mechanism) -> Plan:
    return replace(plan, quantizer=pack(mechanism), length=mechanism.entries)


# Clips


@pytest.mark.parametrize(
    "clip", [None, 0.0, -1.0, float("inf"), float("-inf"), float("nan"), 1e300, 1e-300, 5e-324, 2.0**21, 2.0**-21]
)
def test_a_clip_that_cannot_follow_from_the_studys_is_refused(unmoved: Scene, clip: float | None) -> None:
    """The plan that comes with it is the one that fits it, where there is one."""
    plan = unmoved.attacker.plan(unmoved.attacker.train_task())
    with suppress(InputError, ArithmeticError):
        plan = with_mechanism(plan, promised(unmoved, clip=clip or 0.0))
    reply = refused(step(unmoved, "alder", unmoved.attacker.train_task(clip=clip), plan))
    assert "this hospital's Konsil" not in reply.reason, "a refusal with its reason, not a stumble"


@pytest.mark.parametrize("clip", [0.5, 1.0 + 2**-52, 2.0])
def test_where_the_clip_is_fixed_no_other_is_taken(lasting: Scene, clip: float) -> None:
    before = lasting.memory()
    task = lasting.attacker.train_task(clip=clip)
    refused(lasting.attacker.step("alder", task), "a clip that follows from the study's 1.0")
    assert lasting.memory() == before


@pytest.mark.parametrize("clip", [0.25, 8.0])
def test_where_it_adapts_the_noise_follows_it(stage: Stage, clip: float) -> None:
    scene = stage(ADAPTIVE)
    reply = scene.attacker.step("alder", scene.attacker.train_task(clip=clip))
    assert isinstance(reply, Contributed)
    (by,) = scene.releases.by
    assert (by.clip, by.noise_multiplier, by.honest) == (clip, noise_multiplier(ADAPTIVE), HONEST)
    assert by.deviation * by.grid >= by.noise_multiplier * clip / np.sqrt(HONEST)
    assert scene.charges() == 1


# What the plan says of the mechanism

MECHANISMS: dict[str, Callable[[Mechanism], Mechanism]] = {
    "one honest hospital more": lambda m: replace(m, honest=HONEST + 1),
    "all of them honest": lambda m: replace(m, honest=5),
    "less noise": lambda m: replace(m, noise_multiplier=m.noise_multiplier / 2),
    "another grid, by the clip": lambda m: replace(m, clip=2 * m.clip),
    "another grid, by the entries": lambda m: replace(m, entries=m.entries + 1),
    "fewer hospitals": lambda m: replace(m, sites=4),
    "a later version": lambda m: replace(m, version=2),
}


@pytest.mark.parametrize("name", MECHANISMS)
def test_a_plan_with_another_mechanism_is_refused(unmoved: Scene, name: str) -> None:
    task = unmoved.attacker.train_task()
    hostile = MECHANISMS[name](promised(unmoved))
    refused(step(unmoved, "alder", task, with_mechanism(unmoved.attacker.plan(task), hostile)), "plan's quantizer")


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"colluders": 0}, "plan's colluders"), ({"threshold": 5}, "plan's threshold"), ({"bits": 16}, "plan's bits")],
)
def test_a_plan_that_changes_who_counts_as_honest_is_refused(
    unmoved: Scene, changes: dict[str, int], words: str
) -> None:
    task = unmoved.attacker.train_task()
    refused(step(unmoved, "alder", task, replace(unmoved.attacker.plan(task), **changes)), words)


def over(scene: Scene, task: TrainTask, names: Sequence[str], *, attempt: int = 1) -> Plan:
    """The honest plan over a smaller cohort."""
    cohort = tuple(scene.attacker.records[name] for name in sorted(names))
    terms = scene.attacker.terms(task, len(cohort))
    return replace(
        scene.attacker.plan(task, attempt=attempt), cohort=cohort, threshold=terms.threshold, quantizer=terms.quantizer
    )


def test_a_smaller_cohort_does_not_shrink_the_noise(stage: Stage) -> None:
    """Of three hospitals all must answer, and two count: each adds more. The mechanism of five is refused."""
    scene = stage(FIXED)
    task, three = scene.attacker.train_task(), NAMES[:3]
    fewer = over(scene, task, three)
    refused(step(scene, "alder", task, with_mechanism(fewer, promised(scene))), "plan's quantizer")
    assert scene.releases.by == []
    assert isinstance(step(scene, "alder", task, fewer), Contributed)
    (by,) = scene.releases.by
    assert (by.honest, by.sites) == (2, 3)
    assert by.deviation > promised(scene).deviation
    assert Ledger(scene.local.home("alder").path / "ledger.sqlite").events("attacked")[0].honest == 2


def test_a_cohort_below_the_policy_is_refused(stage: Stage) -> None:
    scene = stage(FIXED)
    task, before = scene.attacker.train_task(), scene.memory()
    refused(step(scene, "alder", task, over(scene, task, NAMES[:2])), "cohort", "aggregation.min_cohort")
    assert scene.memory() == before


# Rounds and budget


@pytest.mark.parametrize("round_", [0, 3, 10**6])
def test_rounds_that_the_study_does_not_have_are_refused(unmoved: Scene, round_: int) -> None:
    task = unmoved.attacker.train_task()
    reply = step(unmoved, "alder", task, unmoved.attacker.plan(task, round_=round_))
    refused(reply, "train task", "a round from 1 to 2")


def test_rounds_asked_again_are_charged_until_the_studys_promise_is_used_up(stage: Stage) -> None:
    """Two rounds are planned; the third charge would pass ε, and is refused before anything is looked at."""
    scene = stage(FIXED)
    task = scene.attacker.train_task()
    replies = [step(scene, "alder", task, scene.attacker.plan(task, attempt=attempt)) for attempt in (1, 2, 3)]
    assert [type(reply) for reply in replies] == [Contributed, Contributed, Refused]
    refused(replies[2], "the study's own privacy.epsilon", "study.epsilon")
    assert scene.charges() == len(scene.releases.by) == 2
    event = round_event(FIXED, noise_multiplier(FIXED) or 0.0, honest=HONEST)
    assert Ledger(scene.local.home("alder").path / "ledger.sqlite").events("attacked") == (event, event)
    assert not np.array_equal(*(made - made.mean() for made in scene.releases.integers)), "fresh noise each time"


def test_the_same_step_again_gives_the_same_bytes_for_one_charge(stage: Stage) -> None:
    scene = stage(FIXED)
    task = scene.attacker.train_task()
    plan = scene.attacker.plan(task)
    request = scene.attacker.request(Step(plan=plan, payload=memoryview(pack(Task(body=task)))))
    first = scene.attacker.sites["alder"].handle(request)
    assert isinstance(read_reply(first), Contributed)
    again = site_of(scene.local, "alder", ward(12), scene.releases)
    assert scene.attacker.sites["alder"].handle(request) == again.handle(request) == first
    assert scene.charges() == len(scene.releases.by) == 1


def test_a_budget_already_spent_is_refused_before_training(stage: Stage) -> None:
    scene = stage(FIXED)
    scene.set_policy("epsilon_total = 100.0", "epsilon_total = 0.5")
    before, task = scene.memory(), scene.attacker.train_task()
    refused(scene.attacker.step("alder", task), "privacy budget", "privacy.epsilon_total")
    assert (scene.memory(), scene.releases.by) == (before, [])


def test_a_run_goes_on_without_the_hospital_whose_budget_is_spent(world: World) -> None:
    local, releases = world.local(), Releases()
    small = POLICY.replace("epsilon_total = 100.0", "epsilon_total = 7.0")
    (local.home("birch").path / "policy.toml").write_text(small)
    outcome, result = local.run(LocalLink(sites_of(local, releases)), FIXED)
    others = tuple(name for name in NAMES if name != "birch")
    assert (outcome.status, result.sites.contributed) == ("finished", (NAMES, others))
    assert "privacy budget" in next(out.reason for out in result.sites.left_out if out.site == "birch")
    assert len(releases.by) == 5 + 4, "it did not look at its patients again"


def test_a_run_ends_where_too_few_have_a_budget_left(world: World) -> None:
    """The first round may be paid for, the second not."""
    local, releases = world.local(), Releases()
    for name in NAMES[:3]:
        home = local.home(name).path
        (home / "policy.toml").write_text(POLICY.replace("epsilon_total = 100.0", "epsilon_total = 7.0"))
    outcome, _ = local.run(LocalLink(sites_of(local, releases)), EXACT)
    assert (outcome.status, outcome.checkpoint.memory.round) == ("stopped", 1)
    assert outcome.because.count("privacy budget") == 3


# Survivors


def settled(scene: Scene, names: Sequence[str], plan: Plan, task: AnyTask) -> Collector:
    return scene.attacker.settled(task, plan, names)


def test_a_second_survivor_set_is_refused(stage: Stage) -> None:
    """All five, then all but damson: the difference would be damson's part with its own share only."""
    scene = stage(FIXED)
    task = scene.attacker.train_task()
    plan = scene.attacker.plan(task)
    everybody = settled(scene, NAMES, plan, task)
    fewer = scene.attacker.contributions(task, plan, [name for name in NAMES if name != "damson"])
    refused(scene.attacker.say("alder", Confirm(request=fewer.ask_confirm("alder"))), "settled on", "got others")
    assert isinstance(scene.attacker.ask_unmask("alder", unpack(UnmaskRequest, everybody.request("alder"))), Answered)
    assert scene.charges() == 1


def test_fewer_than_t_survivors_are_not_opened(stage: Stage) -> None:
    scene = stage(FIXED)
    task = scene.attacker.train_task()
    plan = scene.attacker.plan(task)
    whole = settled(scene, NAMES, plan, task)
    honest = unpack(UnmaskRequest, whole.request("alder"))
    for fewer in (NAMES[:3], NAMES[:2]):
        short = replace(honest, survivors=fewer, bundles=honest.bundles[: len(fewer) - 1], confirmations=())
        refused(scene.attacker.ask_unmask("alder", short), "survivors")


# Evaluations and policies


@pytest.mark.parametrize(
    ("study", "policy", "rule"),
    [
        (EXACT, POLICY + "[evaluation]\nnoise = true\n", "evaluation.noise"),
        (FIXED, POLICY.replace("[privacy]", '[privacy]\nleast = "local"'), "privacy.least"),
        (FIXED, POLICY.replace("[privacy]", "[privacy]\nmin_noise_multiplier = 50.0"), "privacy.min_noise_multiplier"),
        (FIXED, POLICY + "[aggregation]\ncolluders = 2\n", "aggregation.colluders"),
    ],
)
def test_what_the_policy_forbids_is_refused_at_the_door(world: World, study: Study, policy: str, rule: str) -> None:
    local = world.local()
    (local.home("alder").path / "policy.toml").write_text(policy)
    attacker = Attacker(local.federation, dict(zip(NAMES, sites_of(local, Releases()), strict=True)), study)
    assert refused(attacker.say("alder", attacker.invitation)).rule == rule
    assert isinstance(attacker.say("birch", attacker.invitation), Joined), "its own policy, the default, allows it"


def test_evaluations_beyond_the_planned_ones_are_refused(stage: Stage) -> None:
    """One of the validation patients is planned, with noise for one; the second would pass evaluation.epsilon. Those of
    the test are other patients."""
    scene = stage(FIXED)
    replies = []
    for attempt, split in enumerate((1, 1, 2, 2), start=1):
        task = scene.attacker.evaluate_task(split)
        replies.append(step(scene, "alder", task, scene.attacker.plan(task, round_=1, attempt=attempt)))
    assert [type(reply) for reply in replies] == [Contributed, Refused, Contributed, Refused]
    refused(replies[1], "the study's own evaluation.epsilon")
    ledger = Ledger(scene.local.home("alder").path / "ledger.sqlite")
    assert ledger.events("attacked", "evaluate") == (evaluation_event(FIXED, 1), evaluation_event(FIXED, 2))
    assert ledger.events("attacked") == ()
