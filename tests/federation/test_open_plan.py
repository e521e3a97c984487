"""A coordinator killed in the middle of a sum asks for that very sum again, and for no other."""

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

import server.attempts
from server.aggregate import Aggregator, Sum
from server.attendance import TooFewError
from server.open_plan import Desk
from shared.study import Study
from simulations.attacker import SURVEY
from simulations.faults import Fault, LocalLink, Moment, lost
from simulations.local import LocalFederation

OPEN = '[privacy]\nleast = "off"\n[aggregation]\nmin_cohort = 2\ncolluders = 0\n[studies]\nask = false\n'


class Killed(BaseException):
    """The coordinator's end."""


@pytest.fixture(autouse=True)
def no_waiting(local: LocalFederation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.attempts, "REJOIN_S", 0.0)
    for name in local.names:
        (local.home(name).path / "policy.toml").write_text(OPEN)


@pytest.fixture
def start(local: LocalFederation, study: Study) -> Callable[[dict[Moment, Fault]], Aggregator]:
    """A coordinator, as each of its processes begins: the hospitals have joined; its desk is on disk."""

    def coordinator(faults: dict[Moment, Fault]) -> Aggregator:
        link = LocalLink(local.sites(), faults)
        invitation = local.federation.invitation("run", study)
        found = Aggregator(
            link, invitation, local.federation.roster, local.federation.operator, desk=Desk(local.folder / "plan.bin")
        )
        found.welcome(1.0)
        return found

    return coordinator


def survey(coordinator: Aggregator, attempt: int) -> Sum:
    return coordinator.aggregate(SURVEY, round_=0, attempt=attempt, progress=lambda *_: None)


def kill(_request: bytes, _serve: Callable[[bytes], bytes]) -> bytes | None:
    raise Killed


@pytest.mark.parametrize(
    "at", [Moment(2, "survey"), *(Moment(node, step) for step in ("confirm", "unmask") for node in (0, 2))]
)
def test_the_same_plan_is_asked_again_and_gives_the_undisturbed_sum(
    local: LocalFederation, start: Callable[[dict[Moment, Fault]], Aggregator], at: Moment
) -> None:
    with pytest.raises(Killed):
        survey(start({at: kill}), 1)
    desk = Desk(local.folder / "plan.bin")
    assert desk._open is not None
    before = desk._open.plan
    total = survey(start({}), 1_000_001)
    assert total.survivors == ("alder", "birch", "cedar")
    again = Desk(local.folder / "plan.bin")._open
    assert again is not None
    assert again.plan == before, "no new plan: hospitals send what they stored"


def test_survivors_once_settled_stay_the_survivors(
    local: LocalFederation, start: Callable[[dict[Moment, Fault]], Aggregator]
) -> None:
    """Cedar's vector was lost; before the restart the others were asked to unmask without it. It is back now."""
    with pytest.raises(Killed):
        survey(start({Moment(2, "survey"): lost, Moment(1, "unmask"): kill}), 1)
    total = survey(start({}), 1_000_001)
    assert total.survivors == ("alder", "birch")
    assert total.missing == {"cedar": "had not answered before"}


def test_a_settled_sum_that_lost_a_survivor_is_given_up(
    local: LocalFederation, start: Callable[[dict[Moment, Fault]], Aggregator]
) -> None:
    with pytest.raises(Killed):
        survey(start({Moment(0, "unmask"): kill}), 1)
    second = start({Moment(1, "survey"): lost})
    with pytest.raises(TooFewError):
        survey(second, 1_000_001)
    assert not (local.folder / "plan.bin").exists()
    second.welcome(1.0)
    third = start({})
    assert survey(third, 1_000_002).survivors == ("alder", "birch", "cedar"), "by a new plan"


def test_a_plan_of_another_round_payload_or_roster_is_not_taken_up(
    local: LocalFederation, start: Callable[[dict[Moment, Fault]], Aggregator], tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        survey(start({Moment(2, "survey"): kill}), 1)
    desk = Desk(local.folder / "plan.bin")
    assert desk._open is not None
    plan = desk._open.plan
    assert desk.recall("survey", 0, plan.payload) is not None
    assert desk.recall("train", 0, plan.payload) is None
    assert desk.recall("survey", 1, plan.payload) is None
    assert desk.recall("survey", 0, bytes(32)) is None
    desk.keep(replace(plan, roster_hash=bytes(32)))
    assert survey(start({}), 1_000_001).survivors == ("alder", "birch", "cedar")
    newest = Desk(local.folder / "plan.bin")._open
    assert newest is not None
    assert newest.plan.attempt == 1_000_001


def test_a_torn_or_foreign_file_is_as_good_as_none(tmp_path: Path) -> None:
    (tmp_path / "plan.bin").write_bytes(b"\xc1 nothing of ours")
    assert Desk(tmp_path / "plan.bin").recall("survey", 0, bytes(32)) is None


def test_a_hospital_that_answers_from_another_hospitals_node_is_turned_away(
    local: LocalFederation, study: Study
) -> None:
    """Birch's join record, signed by birch, comes from cedar's node: cedar would sit where birch is asked."""
    owners = {0: "alder", 1: "cedar", 2: "cedar"}
    invitation = local.federation.invitation("run", study)
    federation = local.federation
    link = LocalLink(local.sites())
    found = Aggregator(link, invitation, federation.roster, federation.operator, owner=owners.get)
    problems = found.welcome(0.1)
    assert found.members.cohort("train") == ("alder", "cedar")
    assert "whose node this is" in str(problems)


def test_a_node_that_is_no_members_is_not_even_asked(local: LocalFederation, study: Study) -> None:
    link = LocalLink(local.sites())
    invitation = local.federation.invitation("run", study)
    Aggregator(link, invitation, local.federation.roster, local.federation.operator, owner={0: "alder"}.get).welcome(
        0.0
    )
    assert {node for node, _, _ in link.traffic} == {0}
