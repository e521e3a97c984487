"""Rebuilding the seeds that leave a sum masked (PROTOCOL.md, step 4).

Guarantees: every seed given out matches its owner's commitment, and every share used matches the dealer's
commitment to it, so t right shares suffice however many are wrong. `faults` names each sender of a wrong
share or seed, or, where the shares are right and the secret is not, the dealer.

For survivors U and dropped D these are needed: b_j for j in U, and s_jd for j in U and d in D, from j itself
where it answered, else from shares.
"""

from collections.abc import Mapping
from typing import NamedTuple

from shared.errors import OperatorError, PeerError
from shared.secagg.keystream import SEED_BYTES
from shared.secagg.masks import Sign
from shared.secagg.messages import (
    COMMITMENT_BYTES,
    SHARE_COMMITMENT_BYTES,
    commitment,
    piece,
    share_commitment,
)
from shared.secagg.plan import Plan
from shared.secagg.sharing import SHARE_BYTES, combine, weights_at_zero
from shared.secagg.shelf import Shelf


class Answered(NamedTuple):
    """What a survivor told, but for the shares of pair seeds, which lie on the shelf under n + its cohort number."""

    self_shares: bytes
    pair_seeds: bytes


class Rebuilder:
    """`commitments` to secrets and `answers` go by cohort number: those of U, and of the part of U that answered.

    The shelf holds under each survivor's number its commitments to shares first.
    """

    def __init__(
        self, plan: Plan, commitments: Mapping[int, bytes], answers: Mapping[int, Answered], shelf: Shelf
    ) -> None:
        self.faults: list[str] = []
        self._digest = plan.digest()
        self._sites = plan.sites()
        self._threshold = plan.threshold
        self._commitments = commitments
        self._answers = answers
        self._shelf = shelf
        self._survivors = sorted(commitments)
        self._dropped = [k for k in range(len(self._sites)) if k not in commitments]
        self._weights: dict[tuple[int, ...], tuple[int, ...]] = {}

    def masks(self) -> list[tuple[bytes, Sign]]:
        """The masks whose addition removes those left in the sum. Raises OperatorError."""
        result: list[tuple[bytes, Sign]] = [(self._combined(j, j), -1) for j in self._survivors]
        # y_j holds + s_jd where d comes after j, - where it comes before
        result.extend((self._pair_seed(j, d), -1 if d > j else 1) for j in self._survivors for d in self._dropped)
        return result

    def _pair_seed(self, owner: int, dropped: int) -> bytes:
        """s_jd as j itself told it, if it answered rightly, else from shares."""
        if owner in self._answers:
            seed = piece(self._answers[owner].pair_seeds, self._dropped.index(dropped), SEED_BYTES)
            if self._fits(owner, dropped, seed):
                return seed
            self._note(f"{self._sites[owner]} gave a wrong seed of its pair with {self._sites[dropped]}")
        return self._combined(owner, dropped)

    def _combined(self, owner: int, slot: int) -> bytes:
        """The secret in `slot` of `owner`, from the shares of those who answered."""
        shares = self._right_shares(owner, slot)
        if len(shares) < self._threshold:
            raise self._failure(f"{self._threshold} right shares", f"{len(shares)}", owner)
        points = tuple(member + 1 for member in list(shares)[: self._threshold])
        if points not in self._weights:
            self._weights[points] = weights_at_zero(points)
        try:
            secret = combine([shares[x - 1] for x in points], self._weights[points])
        except PeerError:
            secret = b""
        if not self._fits(owner, slot, secret):
            self._note(f"{self._sites[owner]} dealt shares of a secret it did not commit to")
            raise self._failure("the secret committed to", "another", owner)
        return secret

    def _right_shares(self, owner: int, slot: int) -> dict[int, bytes]:
        """The shares of a secret by cohort number of who sent them, without the wrong ones."""
        shares = {}
        for member in sorted(self._answers):
            share = self._share(member, owner, slot)
            if share is None:
                continue
            place = (member * len(self._sites) + slot) * SHARE_COMMITMENT_BYTES
            expected = self._shelf.get(owner, place, SHARE_COMMITMENT_BYTES)
            if share_commitment(self._digest, owner, slot, member, share) == expected:
                shares[member] = share
            else:
                self._note(
                    f"{self._sites[member]} gave a share of a secret of {self._sites[owner]} that"
                    f" {self._sites[owner]} did not commit to: one of the two is at fault"
                )
        return shares

    def _share(self, member: int, owner: int, slot: int) -> bytes | None:
        """What `member` answered for the secret in `slot` of `owner`; it has no share of its own pair seeds."""
        answer = self._answers[member]
        if owner == slot:
            return piece(answer.self_shares, self._survivors.index(owner), SHARE_BYTES)
        if owner == member:
            return None
        others = [j for j in self._survivors if j != member]
        row = others.index(owner) * len(self._dropped) + self._dropped.index(slot)
        return self._shelf.get(len(self._sites) + member, row * SHARE_BYTES, SHARE_BYTES)

    def _fits(self, owner: int, slot: int, secret: bytes) -> bool:
        expected = piece(self._commitments[owner], slot, COMMITMENT_BYTES)
        return commitment(self._digest, self._sites, owner, slot, secret) == expected

    def _failure(self, expected: str, got: str, owner: int) -> OperatorError:
        faults = "; ".join(self.faults)
        return OperatorError(
            f"secret of {self._sites[owner]}",
            expected=expected,
            got=f"{got} ({faults})" if faults else got,
            do="Discard the round, see to the sites named, and run it anew.",
        )

    def _note(self, fault: str) -> None:
        if fault not in self.faults:
            self.faults.append(fault)
