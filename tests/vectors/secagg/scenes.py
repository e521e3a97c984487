"""The federations of the vectors: fixed keys, one plan each, and what every party sends (second.py)."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

from tests.vectors.secagg import primitives, records
from tests.vectors.secagg.packed import pack
from tests.vectors.secagg.records import Message
from tests.vectors.secagg.second import Coordinator, Member, Randomness

STUDY_HASH = bytes([1] * 32)
ROSTER_HASH = bytes([2] * 32)
PAYLOAD = bytes([3] * 32)
SEED = bytes([4] * 32)


def key(what: str, name: str) -> bytes:
    """32 bytes that only this test data knows."""
    return sha256(f"{what} of {name}".encode()).digest()


def bad(name: str, words: str, **data: Any) -> dict[str, Any]:
    """What must be refused, and `words` of Konsil's error."""
    return {"name": name, **data, "words": words}


@dataclass(frozen=True)
class Scene:
    """`counts` and `vectors` by site name: who is in the cohort. Contributions of `dropped` are lost."""

    name: str
    counts: dict[str, list[int]]
    vectors: dict[str, list[int]]
    threshold: int
    colluders: int
    adversary: str
    bits: int
    dropped: Collection[str]
    quantizer: bytes = b""
    round: int = 1

    @cached_property
    def plan(self) -> Message:
        sites = list(self.vectors)
        common: dict[str, Any] = {"run": "vectors", "study_hash": STUDY_HASH, "roster_hash": ROSTER_HASH}
        cohort = [records.join(key("identity", s), key("run key", s), **common, site=s) for s in sites]
        head = ("train", PAYLOAD, self.threshold, self.colluders, self.adversary, self.quantizer)
        values = (
            *head,
            len(self.counts[sites[0]]),
            len(self.vectors[sites[0]]),
            self.bits,
            *common.values(),
            self.round,
            0,
            cohort,
        )
        return dict(zip(records.FIELDS["Plan"].split(), values, strict=True))

    @cached_property
    def identities(self) -> dict[str, bytes]:
        return {site: primitives.public_identity(key("identity", site)) for site in self.vectors}

    @cached_property
    def members(self) -> dict[str, Member]:
        return {
            site: Member(site, key("identity", site), key("run key", site), self.plan, self.identities)
            for site in self.vectors
        }

    def randomness(self, site: str) -> Randomness:
        return Randomness.of(SEED, self.plan, site)

    @cached_property
    def contributions(self) -> dict[str, tuple[Message, bytes]]:
        return {
            s: self.members[s].contribute(self.counts[s], self.vectors[s], self.randomness(s)) for s in self.vectors
        }

    def closed(self) -> Coordinator:
        """A coordinator that has every contribution that came."""
        coordinator = Coordinator(self.plan, self.identities)
        for site, (message, vector) in self.contributions.items():
            if site not in self.dropped:
                coordinator.add(message, vector)
        return coordinator

    def settled(self, silent: Collection[str] = ()) -> Coordinator:
        """The same, confirmed by all but the `silent` where the mode is active."""
        coordinator = self.closed()
        for site in coordinator.survivors:
            if self.adversary == "active" and site not in silent:
                coordinator.confirm(self.members[site].confirm(coordinator.confirm_request(site)))
        return coordinator

    def shown(self) -> dict[str, Any]:
        """Keys and plan for a file."""
        sites = [
            {
                "site": site,
                "identity": key("identity", site),
                "identity_public": self.identities[site],
                "run_key": key("run key", site),
                "counts": self.counts[site],
                "vector": vector,
            }
            for site, vector in self.vectors.items()
        ]
        digest = records.plan_digest(self.plan)
        return {"name": self.name, "plan": pack(self.plan), "plan_digest": digest, "sites": sites} | {
            "dropped": list(self.dropped)
        }


def _ramp(site: int, length: int, bits: int) -> list[int]:
    """Words that wrap when summed."""
    return [(0x9E3779B1 * (site + 1) * (place + 1)) % (1 << bits) for place in range(length)]


def scene(name: str, sites: Sequence[str], length: int, bits: int, **rest: Any) -> Scene:
    counts = {s: [1, 1000 * (k + 1)] for k, s in enumerate(sites)}
    return Scene(
        name=name, counts=counts, vectors={s: _ramp(k, length, bits) for k, s in enumerate(sites)}, bits=bits, **rest
    )


FOUR = scene(
    "four-active",
    ("alm", "bern", "celle", "dorn"),
    5,
    32,
    threshold=3,
    colluders=1,
    adversary="active",
    dropped=("bern",),
)
LATER = scene(
    "four-later",
    ("alm", "bern", "celle", "dorn"),
    5,
    32,
    threshold=3,
    colluders=1,
    adversary="active",
    dropped=(),
    round=2,
)
THREE = scene(
    "three-semi-honest",
    ("alm", "bern", "celle"),
    7,
    13,
    threshold=2,
    colluders=0,
    adversary="semi-honest",
    dropped=("celle",),
)
