"""Where survivors are mixed up: a plan that everybody contributed to, its honest hospitals to be asked, and colluders.

The hospitals are real ones (`at_sites`), or members of a rehearsal (`in_memory`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from client.rounds import Rounds
from shared.crypto.identity import Identity
from shared.errors import PeerError
from shared.messages.replies import Answered, Contributed
from shared.messages.tasks import AnyTask
from shared.secagg.masks import Words
from shared.secagg.member import Masked, RoundState, confirm, unmask
from shared.secagg.messages import Confirmation, ConfirmRequest, Contribution, UnmaskAnswer, UnmaskRequest
from shared.secagg.plan import Plan, SiteRules
from shared.secagg.rehearsal import Federation
from shared.wire import pack, unpack
from simulations.attacker import Attacker
from simulations.unmask_attacks import confirmation


@dataclass(frozen=True)
class Colluder:
    """All that a hospital in league with the coordinator tells it: its identity key and its secrets of the round."""

    identity: Identity
    state: RoundState


@dataclass(frozen=True)
class Stage:
    """A plan that everybody contributed to. `confirm` gives one honest hospital's signature, or nothing; `unmask` its
    answer, or None."""

    plan: Plan
    contributions: Mapping[str, Contribution]
    vectors: Mapping[str, memoryview]
    confirm: Callable[[str, ConfirmRequest], bytes]
    unmask: Callable[[str, UnmaskRequest], UnmaskAnswer | None]
    colluders: Mapping[str, Colluder]

    @property
    def honest(self) -> tuple[str, ...]:
        """Everybody else."""
        return tuple(name for name in self.plan.sites() if name not in self.colluders)

    def bundle(self, dealer: str, reader: str) -> bytes:
        """The sealed bundle from one member to another: a dealer leaves its own place out."""
        sites = self.plan.sites()
        i, k = sites.index(dealer), sites.index(reader)
        return self.contributions[dealer].bundles[k if k < i else k - 1]


def at_sites(attacker: Attacker, task: AnyTask, plan: Plan) -> Stage:
    """The real hospitals of `attacker`, each of which has answered `plan`."""
    replies = {name: attacker.step(name, task, plan) for name in plan.sites()}
    contributed = {name: reply for name, reply in replies.items() if isinstance(reply, Contributed)}

    def answer(site: str, request: UnmaskRequest) -> UnmaskAnswer | None:
        reply = attacker.ask_unmask(site, request)
        return unpack(UnmaskAnswer, reply.answer) if isinstance(reply, Answered) else None

    return Stage(
        plan=plan,
        contributions={name: unpack(Contribution, reply.contribution) for name, reply in contributed.items()},
        vectors={name: reply.vector for name, reply in contributed.items()},
        confirm=lambda site, request: confirmation(attacker, site, request.plan, request.survivors),
        unmask=answer,
        colluders={
            name: Colluder(home.identity, Rounds(home.path / "rounds.sqlite").answer(plan.digest(), ()).need())
            for name, home in attacker.colluders.items()
        },
    )


def in_memory(federation: Federation, plan: Plan, vectors: Mapping[str, Words], colluders: Sequence[str] = ()) -> Stage:
    """Hospitals of a rehearsal. They forget what they answered: whoever mixes views asks each of them once."""
    hospitals = {hospital.name: hospital for hospital in federation.hospitals}
    masked: dict[str, Masked] = {
        name: federation.contribute(plan, hospital, vectors[name]) for name, hospital in hospitals.items()
    }

    def sign(site: str, request: ConfirmRequest) -> bytes:
        try:
            data = confirm(masked[site].state, pack(request), identity=hospitals[site].identity, rules=SiteRules())
        except PeerError:
            return b""
        return unpack(Confirmation, data).signature

    def answer(site: str, request: UnmaskRequest) -> UnmaskAnswer | None:
        try:
            data = unmask(masked[site].state, pack(request), identity=hospitals[site].identity, rules=SiteRules())
        except PeerError:
            return None
        return unpack(UnmaskAnswer, data)

    return Stage(
        plan=plan,
        contributions={name: unpack(Contribution, each.contribution) for name, each in masked.items()},
        vectors={name: each.vector for name, each in masked.items()},
        confirm=sign,
        unmask=answer,
        colluders={name: Colluder(hospitals[name].identity, masked[name].state) for name in colluders},
    )
