"""Step 1 at the coordinator, over a link that answers what a test says."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pytest

from server.asking import Asking
from server.attendance import Members
from server.collect import Arrival
from server.contributions import Contributions
from server.counted import CountedLink
from server.open_plan import OpenPlan
from shared.crypto.identity import Identity
from shared.messages.replies import Contributed, Refused, write_reply
from shared.messages.shown import Shown
from shared.messages.tasks import SurveyTask
from shared.secagg.collector import Collector
from shared.secagg.rehearsal import Federation, Hospital
from shared.study import MINIMAL, parse_study


class Scripted:
    """A link to members a, b, c behind nodes 0, 1, 2. `script`: by name, the answers to one request after another;
    None for silence."""

    def __init__(self, script: Mapping[str, list[bytes | None]]) -> None:
        self._script = {"abc".index(name): iter(answers) for name, answers in script.items()}
        self.asked: list[list[int]] = []

    def nodes(self) -> tuple[int, ...]:
        return (0, 1, 2)

    def ask(self, requests: Mapping[int, bytes], timeout_s: float) -> Iterator[Arrival]:
        self.asked.append(sorted(requests))
        for node in requests:
            data = next(self._script[node])
            yield Arrival(node, data, "" if data is not None else "no reply in time")


Collected = tuple[dict[str, Shown], dict[str, str], Members, Scripted]
Collect = Callable[[Mapping[str, list[Refused | None]]], Collected]


@pytest.fixture
def collected() -> Collect:
    """What three members' answers make of a step; one without a script contributes."""
    federation = Federation.of(3)
    plan, members = federation.plan(length=5), Members(("a", "b", "c"))
    for node, hospital in enumerate(federation.hospitals):
        members.admit(hospital.join, node)
    study = parse_study(MINIMAL)

    def contributed(hospital: Hospital) -> bytes:
        masked = federation.contribute(plan, hospital, np.ones(5, plan.dtype))
        shown = Shown(seconds=1.0)
        return write_reply(
            Contributed.sign(masked.contribution, masked.vector, shown, hospital.identity, plan.digest())
        )

    def collect(said: Mapping[str, list[Refused | None]]) -> Collected:
        script: dict[str, list[bytes | None]] = {h.name: [contributed(h)] for h in federation.hospitals}
        for name, answers in said.items():
            script[name] = [None if body is None else write_reply(body) for body in answers] + script[name]
        link = Scripted(script)
        asking = Asking(CountedLink(link, "run", None), members, Identity.generate(), 1.0)
        missing: dict[str, str] = {}
        shown = Contributions(asking, federation.roster, study, None).collect(
            Collector(plan, federation.roster), OpenPlan(plan=plan), SurveyTask(), missing, lambda *_: None
        )
        return shown, missing, members, link

    return collect


def no(*, rule: str = "", passing: bool = False, lacks: bool = False) -> Refused:
    return Refused(what="study", expected="x", got="y", do="z", rule=rule, passing=passing, lacks=lacks)


def test_all_who_contribute_are_in_the_sum(collected: Collect) -> None:
    shown, missing, _, link = collected({})
    assert sorted(shown) == ["a", "b", "c"]
    assert missing == {}
    assert link.asked == [[0, 1, 2]]


def test_who_is_silent_is_lost_and_named(collected: Collect) -> None:
    shown, missing, members, _ = collected({"b": [None]})
    assert sorted(shown) == ["a", "c"]
    assert missing == {"b": "no reply in time"}
    assert sorted(members.records) == ["a", "c"]


def test_a_rules_no_holds_for_the_run(collected: Collect) -> None:
    shown, missing, members, _ = collected({"b": [no(rule="cohort")]})
    assert sorted(shown) == ["a", "c"]
    assert missing == {"b": "study: expected x, got y"}
    assert members.cohort("survey") == ("a", "c")
    assert members.cohort("train") == ("a", "b", "c")


def test_a_no_for_now_lasts_until_the_hospital_joins_again(collected: Collect) -> None:
    _, missing, members, _ = collected({"b": [no(passing=True)]})
    assert missing == {"b": "study: expected x, got y"}
    assert [waiting.name for waiting in members.waiting.values()] == ["b"]
    assert members.cohort("survey") == ("a", "c")


def test_who_finds_out_that_it_lacks_the_start_weights_is_asked_once_more(collected: Collect) -> None:
    shown, missing, _, link = collected({"b": [no(lacks=True)]})
    assert sorted(shown) == ["a", "b", "c"]
    assert missing == {}
    assert link.asked == [[0, 1, 2], [1]]


def test_who_lacks_them_still_is_not_asked_a_third_time(collected: Collect) -> None:
    shown, missing, _, link = collected({"b": [no(lacks=True), no(lacks=True)]})
    assert sorted(shown) == ["a", "c"]
    assert missing == {"b": "study: expected x, got y"}
    assert link.asked == [[0, 1, 2], [1]]


def test_who_waits_and_lacks_them_too_stops_nobody(collected: Collect) -> None:
    shown, missing, members, link = collected({"b": [no(lacks=True, passing=True)]})
    assert sorted(shown) == ["a", "c"]
    assert link.asked == [[0, 1, 2]]
    assert missing == {"b": "study: expected x, got y"}
    assert [waiting.name for waiting in members.waiting.values()] == ["b"]
