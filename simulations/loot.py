"""What a coordinator and its colluders know once hospitals have answered, and which sums that opens."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shared.crypto.sealing import unseal
from shared.secagg.collector import Total
from shared.secagg.keystream import SEED_BYTES
from shared.secagg.masks import Sign, add_count_masks, add_masks
from shared.secagg.member import RoundState
from shared.secagg.messages import COMMITMENT_BYTES, ConfirmRequest, UnmaskAnswer, UnmaskRequest, commitment, piece
from shared.secagg.sharing import SHARE_BYTES, combine, weights_at_zero
from simulations.attacker import masked_sum
from simulations.stage import Stage
from simulations.unmask_attacks import signature_on

#: Which survivors each honest hospital is told of.
Views = Mapping[str, tuple[str, ...]]


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
                state.own_shares
                if j == number
                else unseal(state.openers[j], self.stage.bundle(name, state.site), state.plan)
            )
            for slot in range(len(sites)):
                self._share(j, slot, number, piece(opened, slot, SHARE_BYTES))

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
            bundles=tuple(stage.bundle(name, site) for name in view if name != site),
            confirmations=tuple(signed.get((name, view), b"") for name in view) if signed else (),
        )
        answer = stage.unmask(site, request)
        if answer is not None:
            loot.take(site, view, answer)
    return loot
