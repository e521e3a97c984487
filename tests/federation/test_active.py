"""A coordinator that lies, against real hospitals: what PROTOCOL.md has them refuse, and what active mode buys."""

import re
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from client.home import Home
from client.policy import Policy
from client.rounds import Rounds
from client.site import Site
from client.steps import survey
from shared.messages.replies import Answered, AnyReply, Confirmed, Refused, read_reply, write_reply
from shared.secagg.messages import ANSWER_LABEL, UnmaskAnswer, UnmaskRequest, answer_parts
from shared.secagg.rehearsal import Federation
from shared.study import Study
from shared.wire import pack, unpack
from simulations.attacker import SURVEY, Attacker
from simulations.faults import Fault, LocalLink, Moment, lost
from simulations.local import LocalFederation
from simulations.loot import plunder
from simulations.mixed_views import every_view, mixes, split
from simulations.refusals import REFUSALS, Attempt, tried
from simulations.stage import Stage, at_sites, in_memory
from simulations.strikes import COLLUDER, NAMES, TWO, VICTIM, ask_confirm, honest

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"
LINES = {"min_cohort": "2", "colluders": "0", "adversary": '"active"'}
ATTEMPTS = [(name, what) for name, attempts in REFUSALS.items() for what in attempts]


def set_policy(home: Home, lines: Mapping[str, str]) -> None:
    aggregation = "\n".join(f"{key} = {value}" for key, value in {**LINES, **lines}.items())
    privacy = 'least = "off"\nepsilon_total = 100.0\nepsilon_per_study = 100.0'
    (home.path / "policy.toml").write_text(
        f"[privacy]\n{privacy}\n[aggregation]\n{aggregation}\n[studies]\nask = false\n"
    )


def memory(home: Home) -> list[object]:
    """All that a hospital remembers of runs, plans and charges."""
    found: list[object] = [home.last_roster]
    for file, tables in (("rounds", ("run", "plan")), ("ledger", ("charge", "cohort", "member"))):
        with closing(sqlite3.connect(home.path / f"{file}.sqlite")) as db:
            found += [db.execute(f"SELECT * FROM {table}").fetchall() for table in tables]  # noqa: S608
    return found


class Watched(Site):
    """A hospital; `before` is what it remembered when its last request came."""

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self.before: list[object] = []
        self.watched = home

    def handle(self, data: bytes) -> bytes:
        self.before = memory(self.watched)
        return super().handle(data)


@dataclass
class Ward:
    """The hospitals, for many runs: what one attack leaves behind belongs to a run that no other test uses."""

    local: LocalFederation
    sites: dict[str, Watched]
    runs: "count[int]" = field(default_factory=count)

    def attacker(self, study: Study, policies: Mapping[str, Mapping[str, str]] | None = None) -> Attacker:
        """In a new run of `study` that all have joined, if their policies let them; `policies`: lines by hospital."""
        for name in NAMES:
            set_policy(self.local.home(name), (policies or {}).get(name, {}))
        colluders = {COLLUDER: self.local.home(COLLUDER)}
        run = f"attacked-{next(self.runs)}"
        return Attacker(self.local.federation, dict(self.sites), study, run, colluders=colluders).join_all()


@pytest.fixture(scope="module")
def ward(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Ward:
    folder = tmp_path_factory.mktemp("ward")
    for part in ("federation", "sites"):
        shutil.copytree(template / part, folder / part)
    local = LocalFederation(folder, NAMES)
    with local.federation.locked():  # so that there is an older roster to bring
        local.federation.publish(local.federation.signed(local.federation.roster.entries))
    return Ward(local, {name: Watched(local.home(name)) for name in NAMES})


@pytest.fixture
def three(changed: Callable[[str, str], Study]) -> Study:
    """The study, of at least three hospitals."""
    return changed("min_sites = 2", "min_sites = 3")


def refused(reply: object, got: str) -> None:
    assert isinstance(reply, Refused), reply
    assert got in f"{reply.reason} {reply.do} {reply.rule}"
    assert reply.site == VICTIM


# PROTOCOL.md's list, as docs/protocol.md has it


def test_every_refusal_of_the_protocol_has_an_attack() -> None:
    section = PROTOCOL.read_text("utf-8").partition("## What a hospital refuses")[2].partition("\n## ")[0]
    names = re.findall(r"^\| (.+?) \| `", section, flags=re.MULTILINE)
    assert names == list(REFUSALS)
    assert all(REFUSALS.values())


@pytest.mark.parametrize(("name", "what"), ATTEMPTS)
def test_the_attack_is_refused_by_name_and_leaves_nothing_behind(
    ward: Ward, three: Study, name: str, what: str
) -> None:
    attempt: Attempt = REFUSALS[name][what]
    key, _, value = attempt.policy.partition(" = ")
    attacker = ward.attacker(three, {VICTIM: {key: value}} if key else None)
    reply, gained = tried(what, attempt, attacker)
    refused(reply, attempt.got)
    assert not gained.works
    assert memory(ward.local.home(VICTIM)) == ward.sites[VICTIM].before


def test_the_hostile_message_apart_the_same_steps_open_the_sum(ward: Ward, three: Study) -> None:
    """So the refusals above are of what was wrong, and of nothing else."""
    attacker = ward.attacker(three)
    collector = attacker.settled(SURVEY, attacker.plan(SURVEY), NAMES, confirmers=NAMES[1:])
    for name in NAMES:
        reply = attacker.ask_unmask(name, unpack(UnmaskRequest, collector.request(name)))
        assert isinstance(reply, Answered)
        collector.answer(reply.answer)
    assert collector.finish().counts[0] == 3


# Once per plan


def test_asked_again_for_the_same_survivors_the_same_bytes_leave(ward: Ward, three: Study) -> None:
    attacker = ward.attacker(three)
    request = honest(attacker, confirmers=NAMES)

    def ask() -> list[AnyReply]:
        return [ask_confirm(attacker, request.plan, NAMES), attacker.ask_unmask(VICTIM, request)]

    first = ask()
    assert [type(reply) for reply in first] == [Confirmed, Answered]
    attacker.sites = {**attacker.sites, VICTIM: Site(ward.local.home(VICTIM))}
    assert ask() == first


def test_other_words_for_the_same_survivors_change_nothing_of_the_answer(ward: Ward, three: Study) -> None:
    """Other confirmations for the same survivors, once the answer is out: the answer that was stored."""
    attacker = ward.attacker(three)
    request = honest(attacker)
    first = attacker.ask_unmask(VICTIM, request)
    assert isinstance(first, Answered)
    assert attacker.ask_unmask(VICTIM, replace(request, confirmations=(), bundles=())) == first


def test_secrets_of_a_plan_go_with_a_newer_one_and_with_its_answer(ward: Ward, three: Study) -> None:
    attacker, home = ward.attacker(three), ward.local.home(VICTIM)

    def secrets_of(plan: bytes) -> object:
        return Rounds(home.path / "rounds.sqlite").answer(plan, NAMES).secrets

    def on_disk(secret: bytes) -> bool:
        return any(secret in path.read_bytes() for path in home.path.glob("rounds.sqlite*"))

    old = honest(attacker, attempt=1)
    state = Rounds(home.path / "rounds.sqlite").answer(old.plan, NAMES).need()
    seeds = [seed for seed in state.seeds if seed]
    assert len(seeds) == 2
    assert all(map(on_disk, seeds))
    new = honest(attacker, attempt=2)
    assert secrets_of(old.plan) is None
    assert not any(map(on_disk, [*seeds, state.own_shares]))
    assert secrets_of(new.plan) is not None
    attacker.ask_unmask(VICTIM, new)
    assert secrets_of(new.plan) is None


# Different survivors for different hospitals


def own_counts(ward: Ward, study: Study) -> list[int]:
    """The survey that alder masked."""
    smallest = Policy().evaluation.smallest_count
    counts: list[int] = survey(study, ward.sites[VICTIM]._bench.prepared(study), smallest).plain.counts.tolist()
    return counts


@pytest.mark.parametrize("adversary", ["semi-honest", "active"])
def test_mixed_views_give_a_hospitals_survey_in_semi_honest_mode_only(
    ward: Ward, changed: Callable[[str, str], Study], adversary: str
) -> None:
    """No hospital colludes: three real ones are each told of two survivors or three, and each answers once."""
    study = changed("colluders = 0", f'colluders = 0\nadversary = "{adversary}"')
    attacker = ward.attacker(study, {name: {"adversary": f'"{adversary}"'} for name in NAMES})
    attacker.colluders = {}
    plan = attacker.plan(SURVEY)
    loot = plunder(at_sites(attacker, SURVEY, plan), split(plan, VICTIM))
    alone = loot.sum_over((VICTIM,))
    if adversary == "semi-honest":
        assert alone is not None
        assert alone.counts.tolist() == own_counts(ward, study)
    else:
        assert alone is None
        assert loot.opened() == []


def test_a_colluder_who_signs_every_view_gains_nothing_where_the_study_counts_on_one(
    ward: Ward, changed: Callable[[str, str], Study]
) -> None:
    """Of three, with one of them in league with the coordinator, all three must be in every sum."""
    attacker = ward.attacker(changed("colluders = 0\n", "colluders = 1\n"), {VICTIM: {"colluders": "1"}})
    plan = attacker.plan(SURVEY)
    assert plan.threshold == 3
    stage = at_sites(attacker, SURVEY, plan)
    assert plunder(stage, {VICTIM: TWO, "birch": ("birch", COLLUDER)}).opened() == []
    assert plunder(stage, {VICTIM: NAMES, "birch": NAMES}).opened() == [NAMES[:2]], "the sum that it is for"


def test_what_mixed_views_gain() -> None:
    """The last row is no defence: with more colluders than the study counts on, the masks fall."""
    assert [gained.works for gained in mixes()] == [True, False, True, False, True, False, True]


def breaks(stage: Stage) -> int:
    """In how many ways to tell each honest hospital of a set of its own a sum opens that was promised to nobody."""
    broken = 0
    for views in every_view(stage):
        opened = plunder(stage, views).opened()
        promised = [tuple(name for name in stage.honest if name in view) for view in views.values()]
        broken += len(opened) > 1 or any(group not in promised for group in opened)
    return broken


@pytest.mark.parametrize(
    ("sites", "promised", "colluders", "semi_honest"),
    [(3, 0, (), 8), (4, 1, (), 9), (4, 1, ("d",), 14), (4, 1, ("a",), 14)],
)
def test_no_mix_of_views_opens_another_sum_in_active_mode(
    sites: int, promised: int, colluders: tuple[str, ...], semi_honest: int
) -> None:
    """All views of all honest hospitals, and all groups of them; beside how many open one in semi-honest mode."""
    federation = Federation.of(sites)
    vectors = {hospital.name: np.ones(1, np.uint32) for hospital in federation.hospitals}

    def stage(adversary: str) -> Stage:
        plan = replace(federation.plan(length=1, colluders=promised), adversary=adversary)
        return in_memory(federation, plan, vectors, colluders)

    assert breaks(stage("active")) == 0
    assert breaks(stage("semi-honest")) == semi_honest


# A hospital that lies to the others' cost


def lying(change: Callable[[UnmaskAnswer], UnmaskAnswer], home: Home) -> Fault:
    """The hospital's own answer, changed and truly signed."""

    def fault(request: bytes, serve: Callable[[bytes], bytes]) -> bytes | None:
        body = read_reply(serve(request))
        assert isinstance(body, Answered)
        false = change(unpack(UnmaskAnswer, body.answer))
        signature = home.identity.sign(ANSWER_LABEL, *answer_parts(false))
        return write_reply(Answered(answer=pack(replace(false, signature=signature))))

    return fault


def test_wrong_shares_are_caught_and_the_liar_is_named_in_the_report(local: LocalFederation, study: Study) -> None:
    liar = lying(lambda a: replace(a, self_shares=bytes(len(a.self_shares))), local.home(COLLUDER))
    _, result = local.run(LocalLink(local.sites(), {Moment(2, "unmask"): liar}), study)
    assert result.status == "finished"
    assert result.sites.contributed == (NAMES, NAMES)
    rows = [row for row in result.sites.left_out if row.step == "train unmask"]
    assert {row.site for row in rows} == {COLLUDER}
    assert all("gave a share of a secret of" in row.reason for row in rows)
    assert all("did not commit to: one of the two is at fault" in row.reason for row in rows)


def test_a_wrong_pair_seed_loses_the_round_where_no_shares_replace_it_and_names_the_liar(
    local: LocalFederation, study: Study
) -> None:
    """Birch is lost, so two answers are all there are, and cedar's is false."""
    liar = lying(lambda a: replace(a, pair_seeds=bytes(len(a.pair_seeds))), local.home(COLLUDER))
    link = LocalLink(local.sites(), {Moment(1, "train"): lost, Moment(2, "unmask"): liar})
    _, result = local.run(link, replace(study, federation=replace(study.federation, timeout_s=0.1)))
    assert result.status == "failed"
    assert "cedar gave a wrong seed of its pair with birch" in result.because
