"""A federation in memory: every party honest, keys fresh, nothing stored. For tests and benchmarks only.

Uses the real roles and adds no protocol of its own; a test makes a party hostile by changing what it sends.

    >>> federation = Federation.of(3)
    >>> plan = federation.plan(length=1)
    >>> federation.aggregate(plan, {h.name: np.ones(1, np.uint32) for h in federation.hospitals}).tolist()
    [3]
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from msgspec.structs import replace

from shared.crypto.identity import Identity
from shared.crypto.roster import Roster, RosterEntry, SignedRoster, open_roster, sign_roster
from shared.errors import MisuseError
from shared.secagg.collector import Collector
from shared.secagg.joining import JoinRecord, RunKey, join, new_run_key
from shared.secagg.masks import Words, filled
from shared.secagg.member import Masked, Plain, RoundState, confirm, contribute, unmask
from shared.secagg.packing import Bits
from shared.secagg.plan import Plan, Seat, SiteRules, Terms, check_plan, threshold_for

STUDY_HASH = bytes(32)
PAYLOAD = bytes(32)


@dataclass(frozen=True)
class Hospital:
    """One site: its name, long-term identity, run key and signed join record."""

    name: str
    identity: Identity
    run_key: RunKey
    join: JoinRecord


@dataclass(frozen=True)
class Federation:
    """A root, its signed roster, and hospitals a, b, c, ... (site-000 and on beyond 26) that joined one run."""

    root: Identity
    signed: SignedRoster
    roster: Roster
    hospitals: tuple[Hospital, ...]

    @classmethod
    def of(cls, count: int, *, run: str = "rehearsal") -> "Federation":
        """A federation of `count` hospitals."""
        names = [chr(ord("a") + k) if count <= 26 else f"site-{k:03d}" for k in range(count)]
        root, operator = Identity.generate(), Identity.generate()
        identities = {name: Identity.generate() for name in names}
        entries = tuple(RosterEntry(name=name, identity=key.public) for name, key in identities.items())
        roster = Roster(version=1, entries=entries, operator=operator.public, valid_from=0, valid_until=1)
        signed = sign_roster(root, roster)
        opened = open_roster(signed, root.public, now=0, last_seen_version=0)
        hospitals = tuple(admit(name, identities[name], signed, run) for name in names)
        return cls(root=root, signed=signed, roster=opened, hospitals=hospitals)

    def plan(
        self,
        *,
        length: int,
        threshold: int = 0,
        colluders: int = 0,
        adversary: Literal["semi-honest", "active"] = "active",
        bits: Bits = 32,
        round: int = 1,
        payload: bytes = PAYLOAD,
        step: Literal["train", "evaluate", "survey"] = "train",
    ) -> Plan:
        """A plan over all hospitals; t is the smallest that holds against `colluders` unless given."""
        first = self.hospitals[0].join
        return Plan(
            run=first.run,
            study_hash=STUDY_HASH,
            roster_hash=self.signed.digest(),
            round=round,
            attempt=0,
            step=step,
            payload=payload,
            cohort=tuple(hospital.join for hospital in self.hospitals),
            threshold=threshold or threshold_for(len(self.hospitals), 0.5, colluders),
            colluders=colluders,
            adversary=adversary,
            quantizer=b"",
            counts=1,
            length=length,
            bits=bits,
        )

    def seat(self, plan: Plan, hospital: Hospital, rules: SiteRules | None = None) -> Seat:
        """What `hospital` gets from `check_plan`, or its refusal."""
        terms = Terms(**{name: getattr(plan, name) for name in Terms.__struct_fields__})
        return check_plan(
            plan, hospital.join, self.roster, rules or SiteRules(), replace(terms, payload=PAYLOAD, quantizer=b"")
        )

    def contribute(self, plan: Plan, hospital: Hospital, vector: Words) -> Masked:
        """Step 1 at one hospital, of `vector`, which stays as it is."""
        seat, plain = self.seat(plan, hospital), Plain(np.ones(1, "<u8"), filled(vector))
        return contribute(seat, plain, run_key=hospital.run_key, identity=hospital.identity)

    def aggregate(
        self,
        plan: Plan,
        vectors: Mapping[str, Words],
        *,
        lost_before: Collection[str] = (),
        unconfirmed: Collection[str] = (),
        lost_after: Collection[str] = (),
    ) -> Words:
        """The unmasked sum; hospitals `lost_before` never contribute, those `unconfirmed` do not confirm, those
        `lost_after` never answer."""
        collector = Collector(plan, self.roster)
        states = {}
        for hospital in self.hospitals:
            if hospital.name not in lost_before:
                masked = self.contribute(plan, hospital, vectors[hospital.name])
                states[hospital] = masked.state
                collector.add(masked.contribution, masked.vector)
        collector.close()
        self.confirm(collector, {h: state for h, state in states.items() if h.name not in unconfirmed})
        for hospital, state in states.items():
            if hospital.name not in lost_after:
                request = collector.request(hospital.name)
                collector.answer(unmask(state, request, identity=hospital.identity, rules=SiteRules()))
        total = collector.finish()
        if total.counts.tolist() != [len(states)]:
            raise MisuseError("first count of a sum", expected=f"{len(states)}", got=f"{total.counts.tolist()}")
        return total.words

    def confirm(self, collector: Collector, states: Mapping[Hospital, RoundState]) -> None:
        """Step 2 by these hospitals, where the plan is in active mode."""
        if collector.plan.adversary == "semi-honest":
            return
        for hospital, state in states.items():
            request = collector.ask_confirm(hospital.name)
            collector.confirm(confirm(state, request, identity=hospital.identity, rules=SiteRules()))
        collector.settle()


def admit(name: str, identity: Identity, signed: SignedRoster, run: str) -> Hospital:
    """A hospital that joins `run` with a new run key."""
    run_key = new_run_key()
    record = join(run_key, identity, site=name, run=run, study_hash=STUDY_HASH, roster_hash=signed.digest())
    return Hospital(name=name, identity=identity, run_key=run_key, join=record)
