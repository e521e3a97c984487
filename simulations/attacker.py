"""A coordinator that holds the real operator's key and lies; what it says wrongly is in invitation_attacks.py,
plan_attacks.py (and tasks), unmask_attacks.py (survivors) and mixed_views.py (different survivors to different sites).

It speaks the real messages to real sites and uses the honest coordinator's own pieces: an attack is an honest message
with one thing wrong. `Attacker.step` and the others return what the site answers; whether that is the right refusal is
for the caller to judge.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from msgspec.structs import asdict, replace
from numpy.typing import NDArray

from client.home import Home
from client.site import Site
from server.federation import Federation
from shared.messages.replies import AnyReply, Confirmed, Contributed, Joined, read_reply
from shared.messages.requests import AnyRequest, Confirm, Join, Step, Unmask, write_request
from shared.messages.tasks import AnyTask, EvaluateTask, SurveyTask, Task, TrainTask, payload_digest
from shared.network import network_of
from shared.parameters import layout_of, to_vector
from shared.secagg.collector import Collector, Total
from shared.secagg.joining import JoinRecord
from shared.secagg.messages import ConfirmRequest, Contribution, UnmaskRequest
from shared.secagg.packing import add_packed
from shared.secagg.plan import Plan, Terms
from shared.study import Study, study_hash
from shared.terms import terms
from shared.wire import pack

Weights = NDArray[np.float32]

SURVEY = SurveyTask()


def masked_sum(plan: Plan, contributions: Iterable[tuple[Contribution, memoryview]]) -> Total:
    """What plain addition of masked vectors gives: a coordinator's best without unmasking."""
    total = Total(np.zeros(plan.counts, "<u8"), np.zeros(plan.length, plan.dtype))
    for contribution, vector in contributions:
        np.add(total.counts, np.frombuffer(contribution.counts, "<u8"), out=total.counts)
        add_packed(total.words, vector, plan.bits)
    return total


@dataclass
class Attacker:
    """One run of `study` against `sites` by name. `records`: who has joined.

    `colluders`: hospitals on the roster that do whatever the attacker says, and tell it all they know.
    """

    federation: Federation
    sites: Mapping[str, Site]
    study: Study
    run: str = "attacked"
    records: dict[str, JoinRecord] = field(default_factory=dict)
    colluders: Mapping[str, Home] = field(default_factory=dict)

    def say(self, site: str, body: AnyRequest) -> AnyReply:
        """What `site` answers to `body`."""
        return read_reply(self.sites[site].handle(self.request(body)))

    def request(self, body: AnyRequest) -> bytes:
        """`body` as the operator sends it: this attacker holds the operator's key."""
        return write_request(body, self.federation.operator)

    @property
    def invitation(self) -> Join:
        """The honest invitation to the run."""
        return self.federation.invitation(self.run, self.study)

    def join_all(self) -> "Attacker":
        """Have every site join, by the honest invitation; returns this attacker."""
        for name in self.sites:
            reply = self.say(name, self.invitation)
            if isinstance(reply, Joined):
                self.records[name] = reply.record
        return self

    @property
    def weights(self) -> Weights:
        """The study's public initial weights, float32 [d]."""
        return to_vector(network_of(self.study)).astype(np.float32)

    def train_task(self, **changes: object) -> TrainTask:
        """The honest first training task, with `changes`."""
        privacy = self.study.privacy
        clip = privacy.clip if privacy.mode == "distributed" else None
        honest = TrainTask(weights=memoryview(self.weights.tobytes()), class_weights=(1.0, 1.0), clip=clip)
        return replace(honest, **changes)

    def evaluate_task(self, split: int) -> EvaluateTask:
        """Score `split` with the initial weights."""
        return EvaluateTask(weights=memoryview(self.weights.tobytes()), split=split)

    def plan(self, task: AnyTask, *, round_: int = 1, attempt: int = 1, **changes: object) -> Plan:
        """The honest plan of `task` over all who joined, with `changes`."""
        cohort = tuple(self.records[name] for name in sorted(self.records))
        honest = Plan(
            run=self.run,
            study_hash=study_hash(self.study),
            roster_hash=self.federation.signed_roster.digest(),
            round=round_,
            attempt=attempt,
            cohort=cohort,
            **asdict(self.terms(task, len(cohort))),
        )
        return replace(honest, **changes)

    def terms(self, task: AnyTask, cohort: int) -> Terms:
        """The terms that honest sites expect of `task` over a cohort of so many."""
        payload = payload_digest(pack(Task(body=task)))
        return terms(self.study, task, payload, cohort=cohort, parameters=layout_of(network_of(self.study)).moving)

    def step(self, site: str, task: AnyTask, plan: Plan | None = None) -> AnyReply:
        """What `site` answers to `task` under `plan` (the honest one, if None)."""
        return self.say(site, Step(plan=plan or self.plan(task), payload=memoryview(pack(Task(body=task)))))

    def contributions(self, task: AnyTask, plan: Plan, sites: Sequence[str]) -> Collector:
        """An honest collector that has the contributions of `sites` and has been closed."""
        collector = Collector(plan, self.federation.roster)
        for name in sites:
            reply = self.step(name, task, plan)
            if isinstance(reply, Contributed):
                collector.add(reply.contribution, reply.vector)
        collector.close()
        return collector

    def settled(
        self, task: AnyTask, plan: Plan, sites: Sequence[str], *, confirmers: Sequence[str] | None = None
    ) -> Collector:
        """`contributions`, confirmed by `confirmers` (all of `sites`, if None) and settled."""
        collector = self.contributions(task, plan, sites)
        self.confirm(collector, sites if confirmers is None else confirmers)
        return collector

    def confirm(self, collector: Collector, sites: Sequence[str]) -> None:
        """Have `sites` confirm the survivors of a closed `collector`, and settle it."""
        for name in sites:
            reply = self.say(name, Confirm(request=collector.ask_confirm(name)))
            if isinstance(reply, Confirmed):
                collector.confirm(reply.confirmation)
        collector.settle()

    def ask_confirm(self, site: str, request: ConfirmRequest) -> AnyReply:
        """What `site` answers to `request`."""
        return self.say(site, Confirm(request=pack(request)))

    def ask_unmask(self, site: str, request: UnmaskRequest) -> AnyReply:
        """What `site` answers to `request`."""
        return self.say(site, Unmask(request=pack(request)))
