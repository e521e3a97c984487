"""The attack that active mode is for: tell different hospitals of different survivors, and put their answers together.

Each hospital answers once, for one set that has everything it may ask for. But one may give its seeds with a peer
because that peer is "lost", another its share of the same peer's self mask because it "survived". `Loot` is all that
the coordinator and its colluders know; `opened` says which sums that opens. The protocol promises: none but the one
over the survivors that everybody named.

    stage = in_memory(Federation.of(3), plan, vectors)
    gained = mix("mixed views", stage, split(plan, victim="a"), victim="a")
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from client.rounds import Rounds
from shared.crypto.identity import Identity
from shared.crypto.sealing import unseal
from shared.errors import PeerError
from shared.messages import Answered, AnyTask, Contributed
from shared.secagg.collector import Total
from shared.secagg.keystream import SEED_BYTES
from shared.secagg.masks import Sign, Words, add_count_masks, add_masks
from shared.secagg.member import Masked, RoundState, confirm, unmask
from shared.secagg.messages import (
    COMMITMENT_BYTES,
    Confirmation,
    ConfirmRequest,
    Contribution,
    UnmaskAnswer,
    UnmaskRequest,
    commitment,
    piece,
)
from shared.secagg.plan import Plan, SiteRules
from shared.secagg.rehearsal import Federation
from shared.secagg.sharing import SHARE_BYTES, combine, weights_at_zero
from shared.wire import pack, unpack
from simulations.attacker import Attacker, masked_sum
from simulations.unmask_attacks import confirmation, signature_on

#: Which survivors each honest hospital is told of.
Views = Mapping[str, tuple[str, ...]]
NOTHING = "nothing"


@dataclass(frozen=True)
class Gained:
    """What an attack got its coordinator: `gained` in words, and whether that is more than the sum it was promised."""

    attack: str
    gained: str
    works: bool


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


@dataclass
class Loot:
    """What the coordinator knows after all answers: shares by owner, slot and member; seeds by pair of members."""

    stage: Stage
    shares: dict[tuple[int, int], dict[int, bytes]] = field(default_factory=dict)
    seeds: dict[tuple[int, int], bytes] = field(default_factory=dict)

    def take(self, site: str, survivors: Sequence[str], answer: UnmaskAnswer) -> None:
        """All of one hospital's answer for `survivors`."""
        sites = self.stage.plan.sites()
        number, members = sites.index(site), [sites.index(name) for name in survivors]
        dropped = [k for k in range(len(sites)) if k not in members]
        for place, j in enumerate(members):
            self._share(j, j, number, piece(answer.self_shares, place, SHARE_BYTES))
        for place, d in enumerate(dropped):
            self._seed(number, d, piece(answer.pair_seeds, place, SEED_BYTES))
        pairs = [(j, d) for j in members if j != number for d in dropped]
        for place, (j, d) in enumerate(pairs):
            self._share(j, d, number, piece(answer.pair_shares, place, SHARE_BYTES))

    def join_forces(self, state: RoundState) -> None:
        """All that a colluder knows: its seeds, and its shares of everybody's secrets, opened from their bundles."""
        sites = self.stage.plan.sites()
        number = sites.index(state.site)
        for k, seed in enumerate(state.seeds):
            if k != number:
                self._seed(number, k, seed)
        for j, name in enumerate(sites):
            opened = (
                state.own_shares if j == number else unseal(state.openers[j], self.bundle(name, state.site), state.plan)
            )
            for slot in range(len(sites)):
                self._share(j, slot, number, piece(opened, slot, SHARE_BYTES))

    def bundle(self, dealer: str, reader: str) -> bytes:
        """The sealed bundle from one member to another."""
        return bundle_of(self.stage, dealer, reader)

    def sum_over(self, group: Sequence[str]) -> Total | None:
        """The unmasked sum over `group`, if what is known opens it: within a group pair masks cancel."""
        plan, sites = self.stage.plan, self.stage.plan.sites()
        members = [sites.index(name) for name in group]
        outside = [k for k in range(len(sites)) if k not in members]
        masks: list[tuple[bytes | None, Sign]] = [(self._secret(j, j), -1) for j in members]
        # y_j holds + s_jk where k comes after j, - where it comes before
        masks += [(self._pair(j, k), -1 if k > j else 1) for j in members for k in outside]
        known: list[tuple[bytes, Sign]] = [(seed, sign) for seed, sign in masks if seed is not None]
        if len(known) < len(masks):
            return None
        total = masked_sum(plan, [(self.stage.contributions[name], self.stage.vectors[name]) for name in group])
        add_count_masks(total.counts, known)
        add_masks(total.words, known)
        return total

    def opened(self) -> list[tuple[str, ...]]:
        """Every group of honest hospitals whose sum is known, all 2^n looked at."""
        honest = self.stage.honest
        groups = itertools.chain.from_iterable(itertools.combinations(honest, k + 1) for k in range(len(honest)))
        return [group for group in groups if self.sum_over(group) is not None]

    def _share(self, owner: int, slot: int, member: int, share: bytes) -> None:
        self.shares.setdefault((owner, slot), {})[member] = share

    def _seed(self, one: int, other: int, seed: bytes) -> None:
        self.seeds[min(one, other), max(one, other)] = seed

    def _pair(self, one: int, other: int) -> bytes | None:
        found = self.seeds.get((min(one, other), max(one, other)))
        return found or self._secret(one, other) or self._secret(other, one)

    def _secret(self, owner: int, slot: int) -> bytes | None:
        """The secret in `slot` of `owner` from t shares, if it is the one committed to."""
        plan, sites = self.stage.plan, self.stage.plan.sites()
        shares = list(self.shares.get((owner, slot), {}).items())[: plan.threshold]
        if len(shares) < plan.threshold:
            return None
        secret = combine([share for _, share in shares], weights_at_zero([member + 1 for member, _ in shares]))
        committed = piece(self.stage.contributions[sites[owner]].commitments, slot, COMMITMENT_BYTES)
        return secret if commitment(plan.digest(), sites, owner, slot, secret) == committed else None


def bundle_of(stage: Stage, dealer: str, reader: str) -> bytes:
    """The sealed bundle from one member to another: a dealer leaves its own place out."""
    sites = stage.plan.sites()
    i, k = sites.index(dealer), sites.index(reader)
    return stage.contributions[dealer].bundles[k if k < i else k - 1]


def plunder(stage: Stage, views: Views) -> Loot:
    """Ask each honest hospital once, by its own view, in active mode with every signature that can be had for it:
    colluders sign all."""
    loot, plan = Loot(stage), stage.plan.digest()
    for colluder in stage.colluders.values():
        loot.join_forces(colluder.state)
    signed: dict[tuple[str, tuple[str, ...]], bytes] = {}
    if stage.plan.adversary == "active":
        for site, view in views.items():
            signed[site, view] = stage.confirm(site, ConfirmRequest(plan=plan, site=site, survivors=view))
            signed |= {(name, view): signature_on(c.identity, plan, view) for name, c in stage.colluders.items()}
    for site, view in views.items():
        request = UnmaskRequest(
            plan=plan,
            site=site,
            survivors=view,
            bundles=tuple(bundle_of(stage, name, site) for name in view if name != site),
            confirmations=tuple(signed.get((name, view), b"") for name in view) if signed else (),
        )
        answer = stage.unmask(site, request)
        if answer is not None:
            loot.take(site, view, answer)
    return loot


def split(plan: Plan, victim: str) -> Views:
    """Views that, mixed, give the vector of `victim` alone, where n = 2t - 1 or there are many hospitals; no colluder.

    Its self mask needs t answers of hospitals told that it survived; each of its pair seeds one answer of either end
    told that the other was lost, or t of others told so.
    """
    sites, t = plan.sites(), plan.threshold
    others = tuple(name for name in sites if name != victim)
    if len(sites) == 2 * t - 1:
        told_lost = others[: t - 1]
        views = dict.fromkeys(others, sites) | dict.fromkeys(told_lost, others)
        return {name: views[name] for name in others} | {victim: tuple(sorted((victim, *told_lost)))}
    # the victim tells its seeds with those it is told were lost; of the rest, the others tell shares
    rest, missing = others[: t - 1], len(sites) - t
    told = dict.fromkeys(rest, 0)
    chosen: dict[str, tuple[str, ...]] = {victim: tuple(sorted((victim, *rest)))}
    for site in others:
        lost = sorted((name for name in rest if name != site), key=lambda name: told[name])[:missing]
        told |= {name: told[name] + 1 for name in lost}
        chosen[site] = tuple(name for name in sites if name not in lost)
    return chosen


def every_view(stage: Stage) -> Iterator[Views]:
    """Each way to tell each honest hospital of one set it would accept; for four hospitals at most."""
    sites, t = stage.plan.sites(), stage.plan.threshold
    sets = [view for size in range(t, len(sites) + 1) for view in itertools.combinations(sites, size)]
    choices = [[view for view in sets if site in view] for site in stage.honest]
    for picked in itertools.product(*choices):
        yield dict(zip(stage.honest, picked, strict=True))


def mix(attack: str, stage: Stage, views: Views, victim: str) -> Gained:
    """What `views` give of `victim`."""
    alone = plunder(stage, views).sum_over((victim,))
    return Gained(attack, NOTHING if alone is None else f"the vector of {victim}, exactly", alone is not None)


def search(attack: str, stage: Stage, victim: str) -> Gained:
    """The first of `every_view` that gives the vector of `victim` alone; for four hospitals at most."""
    found = (mix(attack, stage, views, victim) for views in every_view(stage))
    return next((gained for gained in found if gained.works), Gained(attack, NOTHING, works=False))


def _rehearsal(
    sites: int, adversary: Literal["semi-honest", "active"], *, promised: int = 0, colluders: Sequence[str] = ()
) -> Stage:
    """So many hospitals, each with a vector of its own, under a study with `aggregation.colluders` = `promised`."""
    federation = Federation.of(sites)
    plan = federation.plan(length=2, colluders=promised, adversary=adversary)
    vectors: dict[str, Words] = {
        hospital.name: np.array([1, 100 + number], np.uint32) for number, hospital in enumerate(federation.hospitals)
    }
    return in_memory(federation, plan, vectors, colluders)


@dataclass(frozen=True)
class _Mix:
    """One row of MIXES: `searched` through all views, else by `split`."""

    stage: Callable[[], Stage]
    searched: bool = False

    def run(self, attack: str) -> Gained:
        stage = self.stage()
        return search(attack, stage, "a") if self.searched else mix(attack, stage, split(stage.plan, "a"), "a")


_MIXES: Mapping[str, _Mix] = {
    "3 hospitals, each told of other survivors; semi-honest mode": _Mix(lambda: _rehearsal(3, "semi-honest")),
    "3 hospitals, each told of other survivors; active mode": _Mix(lambda: _rehearsal(3, "active")),
    "10 hospitals, t for one colluder; semi-honest mode": _Mix(lambda: _rehearsal(10, "semi-honest", promised=1)),
    "10 hospitals, t for one colluder; active mode": _Mix(lambda: _rehearsal(10, "active", promised=1)),
    "4 hospitals, one colludes, t for one; semi-honest mode": _Mix(
        lambda: _rehearsal(4, "semi-honest", promised=1, colluders=("d",)), searched=True
    ),
    "4 hospitals, one colludes and signs every view, t for one; active mode": _Mix(
        lambda: _rehearsal(4, "active", promised=1, colluders=("d",)), searched=True
    ),
    "3 hospitals, one colludes, t for none: more than the study says; active mode": _Mix(
        lambda: _rehearsal(3, "active", colluders=("c",)), searched=True
    ),
}


def mixes() -> list[Gained]:
    """What different survivors for different hospitals give, by mode and number of colluders, in memory."""
    return [row.run(attack) for attack, row in _MIXES.items()]
