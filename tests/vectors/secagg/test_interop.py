"""Hospitals and coordinators of both implementations, Konsil's and second.py, in one federation."""

import json
from typing import Any

import numpy as np
import pytest

from shared.secagg.collector import Collector
from shared.secagg.member import confirm, unmask
from shared.secagg.plan import Plan, SiteRules
from shared.secagg.rehearsal import Federation
from shared.wire import pack
from tests.vectors.secagg import packed, records, second
from tests.vectors.secagg.scenes import FOUR, THREE, Scene, key
from tests.vectors.secagg.second import Randomness
from tests.vectors.secagg.write import HERE


class Konsil:
    """A hospital by shared/secagg; bytes in, bytes out, as `Other`."""

    def __init__(self, federation: Federation, plan: Plan, number: int) -> None:
        self._federation, self._plan = federation, plan
        self._hospital = federation.hospitals[number]

    def contribute(self, vector: list[int]) -> tuple[bytes, bytes]:
        words: Any = np.array(vector, self._plan.dtype)
        masked = self._federation.contribute(self._plan, self._hospital, words)
        self._state = masked.state
        return masked.contribution, bytes(masked.vector)

    def confirm(self, request: bytes) -> bytes:
        return confirm(self._state, request, identity=self._hospital.identity, rules=SiteRules())

    def unmask(self, request: bytes) -> bytes:
        return unmask(self._state, request, identity=self._hospital.identity, rules=SiteRules())


class Other:
    """A hospital by the second implementation."""

    def __init__(self, federation: Federation, plan: Plan, number: int) -> None:
        hospital = federation.hospitals[number]
        identities = {h.name: h.identity.public for h in federation.hospitals}
        self._plan = records.read("Plan", pack(plan))
        private = hospital.identity.private_bytes()
        self._member = second.Member(hospital.name, private, hospital.run_key.private, self._plan, identities)

    def contribute(self, vector: list[int]) -> tuple[bytes, bytes]:
        drawn = Randomness.of(bytes(32), self._plan, self._member.site)
        message, data = self._member.contribute([1], vector, drawn)
        return packed.pack(message), data

    def confirm(self, request: bytes) -> bytes:
        return packed.pack(self._member.confirm(records.read("ConfirmRequest", request)))

    def unmask(self, request: bytes) -> bytes:
        return packed.pack(self._member.unmask(records.read("UnmaskRequest", request)))


class KonsilCoordinator:
    """Bytes in, bytes out, as `OtherCoordinator`."""

    def __init__(self, federation: Federation, plan: Plan) -> None:
        self._collector, self._plan = Collector(plan, federation.roster), plan

    def add(self, data: bytes, vector: bytes) -> None:
        self._collector.add(data, memoryview(vector))

    def confirmed(self, members: dict[str, Konsil | Other]) -> None:
        survivors = self._collector.close()
        for site in survivors if self._plan.adversary == "active" else ():
            self._collector.confirm(members[site].confirm(self._collector.ask_confirm(site)))
        if self._plan.adversary == "active":
            self._collector.settle()

    def finish(self, members: dict[str, Konsil | Other], lost: str) -> tuple[list[int], list[int]]:
        for site, member in members.items():
            if site != lost:
                self._collector.answer(member.unmask(self._collector.request(site)))
        total = self._collector.finish()
        assert self._collector.faults == []
        return total.counts.tolist(), [word % (1 << self._plan.bits) for word in total.words.tolist()]


class OtherCoordinator:
    """The second implementation's."""

    def __init__(self, federation: Federation, plan: Plan) -> None:
        identities = {h.name: h.identity.public for h in federation.hospitals}
        self._coordinator = second.Coordinator(records.read("Plan", pack(plan)), identities)

    def add(self, data: bytes, vector: bytes) -> None:
        self._coordinator.add(records.read("Contribution", data), vector)

    def confirmed(self, members: dict[str, Konsil | Other]) -> None:
        for site in self._coordinator.survivors if self._coordinator.plan["adversary"] == "active" else ():
            reply = members[site].confirm(packed.pack(self._coordinator.confirm_request(site)))
            self._coordinator.confirm(records.read("Confirmation", reply))

    def finish(self, members: dict[str, Konsil | Other], lost: str) -> tuple[list[int], list[int]]:
        for site, member in members.items():
            if site != lost:
                reply = member.unmask(packed.pack(self._coordinator.unmask_request(site)))
                self._coordinator.answer(records.read("UnmaskAnswer", reply))
        return self._coordinator.finish()


FEDERATION = Federation.of(5)


@pytest.mark.parametrize(("adversary", "bits"), [("active", 32), ("active", 13), ("semi-honest", 16)])
@pytest.mark.parametrize("coordinator", [KonsilCoordinator, OtherCoordinator])
@pytest.mark.parametrize("kinds", ["kokok", "okoko", "ooooo", "kkkkk"])
def test_both_implementations_aggregate_together(
    kinds: str, coordinator: type[KonsilCoordinator | OtherCoordinator], adversary: Any, bits: Any
) -> None:
    """Hospital by hospital k(onsil) or o(ther); c is lost before it contributes, e before it answers."""
    plan = FEDERATION.plan(length=6, threshold=3, adversary=adversary, bits=bits)
    parties: dict[str, type[Konsil | Other]] = {"k": Konsil, "o": Other}
    members: dict[str, Konsil | Other] = {
        h.name: parties[kind](FEDERATION, plan, k)
        for k, (h, kind) in enumerate(zip(FEDERATION.hospitals, kinds, strict=True))
    }
    vectors = {
        name: [(0x9E3779B1 * (k + 1) * (j + 1)) % (1 << bits) for j in range(6)] for k, name in enumerate("abcde")
    }
    chair = coordinator(FEDERATION, plan)
    contributions = {name: member.contribute(vectors[name]) for name, member in members.items()}
    for name in "abde":
        chair.add(*contributions[name])
    survivors = {name: members[name] for name in "abde"}
    chair.confirmed(survivors)
    counts, total = chair.finish(survivors, lost="e")
    assert counts == [4]
    assert total == [sum(vectors[name][j] for name in "abde") % (1 << bits) for j in range(6)]


def test_the_second_implementation_signs_one_survivor_set_only() -> None:
    """A rule of a hospital's disk: for Konsil's see tests/client."""
    plan = FEDERATION.plan(length=1, threshold=3)
    member = Other(FEDERATION, plan, 0)
    member.contribute([1])
    request = {"plan": plan.digest(), "site": "a", "survivors": list("abc")}
    once = member.confirm(packed.pack(request))
    assert member.confirm(packed.pack(request)) == once
    with pytest.raises(packed.Refused, match="other survivors are confirmed"):
        member.confirm(packed.pack({**request, "survivors": list("abcd")}))


# the second implementation refuses the bad cases too


FILES = {name: json.loads((HERE / f"{name}.json").read_text()) for name in ("contribution", "confirm", "unmask")}
UNMASK = FILES["unmask"]["scenes"]
CONTRIBUTIONS = [(THREE, case) for case in FILES["contribution"]["bad"]]
CONFIRM_REQUESTS = [(FOUR, case) for case in FILES["confirm"]["bad_to_alm"]]
CONFIRMATIONS = [(FOUR, case) for case in FILES["confirm"]["bad_to_coordinator"]]
UNMASK_REQUESTS = [
    (scene, case) for scene, file in zip((FOUR, THREE), UNMASK, strict=True) for case in file["bad_to_alm"]
]
ANSWERS = [
    (scene, case) for scene, file in zip((FOUR, THREE), UNMASK, strict=True) for case in file["bad_to_coordinator"]
]


def by_name(found: list[tuple[Scene, dict[str, Any]]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("scene", "case"), found, ids=[case["name"] for _, case in found])


@by_name(CONTRIBUTIONS)
def test_the_other_refuses_a_bad_contribution(scene: Scene, case: dict[str, Any]) -> None:
    coordinator = second.Coordinator(scene.plan, scene.identities)
    coordinator.add(*scene.contributions["alm"])
    with pytest.raises(packed.Refused):
        coordinator.add(records.read("Contribution", bytes.fromhex(case["data"])), bytes.fromhex(case["vector"]))
    assert list(coordinator.vectors) == list(coordinator.contributions) == ["alm"]


def alm(scene: Scene) -> second.Member:
    member = second.Member("alm", key("identity", "alm"), key("run key", "alm"), scene.plan, scene.identities)
    member.contribute(scene.counts["alm"], scene.vectors["alm"], scene.randomness("alm"))
    return member


@by_name(CONFIRM_REQUESTS)
def test_the_other_refuses_a_bad_confirm_request(scene: Scene, case: dict[str, Any]) -> None:
    with pytest.raises(packed.Refused):
        alm(scene).confirm(records.read("ConfirmRequest", bytes.fromhex(case["data"])))


@by_name(CONFIRMATIONS)
def test_the_other_refuses_a_bad_confirmation(scene: Scene, case: dict[str, Any]) -> None:
    coordinator = scene.closed()
    coordinator.confirm(scene.members["alm"].confirm(coordinator.confirm_request("alm")))
    with pytest.raises(packed.Refused):
        coordinator.confirm(records.read("Confirmation", bytes.fromhex(case["data"])))


@by_name(UNMASK_REQUESTS)
def test_the_other_refuses_a_bad_unmask_request(scene: Scene, case: dict[str, Any]) -> None:
    with pytest.raises(packed.Refused):
        alm(scene).unmask(records.read("UnmaskRequest", bytes.fromhex(case["data"])))


@by_name(ANSWERS)
def test_the_other_refuses_a_bad_answer(scene: Scene, case: dict[str, Any]) -> None:
    coordinator = scene.settled()
    coordinator.answer(scene.members["alm"].unmask(coordinator.unmask_request("alm")))
    with pytest.raises(packed.Refused):
        coordinator.answer(records.read("UnmaskAnswer", bytes.fromhex(case["data"])))
