"""The coordinator's role: add masked vectors up, unmask the sum (PROTOCOL.md, step 1, 3 and 4).

Guarantees: `finish` gives the exact sum (mod 2^32) of the vectors of the survivors, or raises; a message that
raises PeerError changed nothing; memory is one vector, however many sites, and the bundles. Whoever sends a
wrong share or seed is named in `faults`, and the rest go on where t right shares remain.

Order: `add` per contribution, `close` once, `request` per survivor, `answer` per reply, `finish` once; other
orders are MisuseErrors. `close` and `finish` may be tried again after an OperatorError, once more sites came.

Not promised: that a site masked with the seeds it committed to. Two sites whose commitments to their pair
seed differ are found in `add`; a false self mask shows in the sum's first slot (PROTOCOL.md, the vector).
"""

from enum import Enum

import numpy as np
from numpy.typing import NDArray

from shared.crypto.identity import verify
from shared.crypto.roster import Roster
from shared.crypto.sealing import OVERHEAD
from shared.errors import MisuseError, OperatorError, PeerError
from shared.secagg.keystream import SEED_BYTES
from shared.secagg.masks import add_masks
from shared.secagg.messages import (
    ANSWER_LABEL,
    COMMITMENT_BYTES,
    CONTRIBUTION_LABEL,
    SHARE_COMMITMENT_BYTES,
    Contribution,
    UnmaskAnswer,
    UnmaskRequest,
    answer_parts,
    contribution_parts,
    piece,
    survivors_digest,
)
from shared.secagg.plan import Plan, check_cohort
from shared.secagg.rebuild import Dealt, Rebuilder
from shared.secagg.sharing import SHARE_BYTES
from shared.wire import pack, unpack


class _Phase(Enum):
    COLLECTING = "add"
    UNMASKING = "request, answer and finish"
    FINISHED = "nothing"


class Collector:
    """One aggregate of one plan, at the coordinator."""

    def __init__(self, plan: Plan, roster: Roster) -> None:
        """Raises PeerError for a plan that no honest site would answer."""
        check_cohort(plan, roster)
        self.plan = plan
        self.digest = plan.digest()
        self.sites = plan.sites()
        #: who sent wrong shares or seeds, and what; filled by `finish`
        self.faults: list[str] = []
        self._roster = roster
        self._phase = _Phase.COLLECTING
        self._sum = np.zeros(plan.length, np.uint32)
        self._dealt: dict[int, Dealt] = {}
        self._bundles: dict[int, tuple[bytes, ...]] = {}
        self._answers: dict[int, UnmaskAnswer] = {}

    def add(self, data: bytes | memoryview) -> str:
        """Step 1: check an encoded `Contribution`, add its vector to the sum; the name of its site."""
        self._expect(_Phase.COLLECTING)
        message = unpack(Contribution, data)
        number = self._check_sender(message.plan, message.site, message.site in self._names(self._dealt))
        self._check_sizes(message)
        verify(
            self._roster.identity(message.site),
            message.signature,
            CONTRIBUTION_LABEL,
            *contribution_parts(message),
        )
        dealt = Dealt(message.commitments, message.share_commitments)
        self._check_pairs(number, dealt)
        self._dealt[number] = dealt
        self._bundles[number] = message.bundles
        np.add(self._sum, np.frombuffer(message.vector, "<u4"), out=self._sum)
        return message.site

    def close(self) -> tuple[str, ...]:
        """End of step 1: the survivors U, in order. Raises OperatorError for fewer than t."""
        self._expect(_Phase.COLLECTING)
        self._expect_threshold("contributions", len(self._dealt))
        self._phase = _Phase.UNMASKING
        return self._survivors()

    def request(self, site: str) -> bytes:
        """Step 3: the encoded `UnmaskRequest` for `site`, one of the survivors."""
        self._expect(_Phase.UNMASKING)
        survivors = self._survivors()
        if site not in survivors:
            raise MisuseError("unmask request", expected="a survivor", got=site)
        number = self.sites.index(site)
        # dealer j leaves its own place out of its bundles
        bundles = tuple(
            self._bundles[j][number if number < j else number - 1] for j in sorted(self._bundles) if j != number
        )
        return pack(UnmaskRequest(plan=self.digest, site=site, survivors=survivors, bundles=bundles))

    def answer(self, data: bytes | memoryview) -> str:
        """Step 3: check an encoded `UnmaskAnswer` and keep it; the name of its site."""
        self._expect(_Phase.UNMASKING)
        message = unpack(UnmaskAnswer, data)
        survivors = self._survivors()
        number = self._check_sender(message.plan, message.site, message.site in self._names(self._answers))
        if message.site not in survivors:
            raise PeerError(f"answer of {message.site}", expected="one of a survivor", got="a dropped site")
        if message.survivors != survivors_digest(self.digest, survivors):
            raise PeerError(f"answer of {message.site}", expected="the survivors asked for", got="others")
        dropped = len(self.sites) - len(survivors)
        sizes = {
            "self shares": (message.self_shares, len(survivors) * SHARE_BYTES),
            "pair seeds": (message.pair_seeds, dropped * SEED_BYTES),
            "pair shares": (message.pair_shares, (len(survivors) - 1) * dropped * SHARE_BYTES),
        }
        for what, (field, size) in sizes.items():
            _expect_size(f"{what} of {message.site}", field, size)
        verify(self._roster.identity(message.site), message.signature, ANSWER_LABEL, *answer_parts(message))
        self._answers[number] = message
        return message.site

    def finish(self) -> NDArray[np.uint32]:
        """Step 4: the sum over the survivors, uint32 [plan.length], handed over and not kept.

        Raises OperatorError with fewer than t answers or t right shares of a secret: if no more answers
        come, the round is discarded and a new one trains anew.
        """
        self._expect(_Phase.UNMASKING)
        self._expect_threshold("unmask answers", len(self._answers))
        rebuilder = Rebuilder(self.plan, self._dealt, self._answers)
        try:
            masks = rebuilder.masks()
        finally:
            self.faults = rebuilder.faults
        add_masks(self._sum, masks)
        self._phase = _Phase.FINISHED
        total, self._sum = self._sum, np.zeros(0, np.uint32)
        return total

    def _expect(self, phase: _Phase) -> None:
        if self._phase is not phase:
            raise MisuseError("collector", expected=f"{self._phase.value} in this phase", got=phase.value)

    def _expect_threshold(self, what: str, count: int) -> None:
        if count < self.plan.threshold:
            raise OperatorError(
                f"round {self.plan.round}, attempt {self.plan.attempt}: {what}",
                expected=f"at least {self.plan.threshold} of {len(self.sites)} sites",
                got=f"{count}",
                do="Discard the round, see to the sites that dropped, and run it anew.",
            )

    def _names(self, numbers: dict[int, Dealt] | dict[int, UnmaskAnswer]) -> set[str]:
        return {self.sites[k] for k in numbers}

    def _survivors(self) -> tuple[str, ...]:
        return tuple(self.sites[k] for k in sorted(self._dealt))

    def _check_sender(self, plan: bytes, site: str, seen: bool) -> int:
        """The sender's cohort number, or PeerError for another plan, a stranger or a second message."""
        if plan != self.digest:
            raise PeerError("message", expected=f"plan {self.digest.hex()[:16]}", got=plan.hex()[:16])
        if site not in self.sites:
            raise PeerError("message", expected="a member of the cohort", got=site)
        if seen:
            raise PeerError(f"message of {site}", expected="one", got="a second")
        return self.sites.index(site)

    def _check_sizes(self, message: Contribution) -> None:
        n, site = len(self.sites), message.site
        _expect_size(f"vector of {site}", message.vector, 4 * self.plan.length)
        _expect_size(f"commitments of {site}", message.commitments, n * COMMITMENT_BYTES)
        _expect_size(f"share commitments of {site}", message.share_commitments, n * n * SHARE_COMMITMENT_BYTES)
        if len(message.bundles) != n - 1:
            raise PeerError(f"bundles of {site}", expected=f"{n - 1}", got=f"{len(message.bundles)}")
        for bundle in message.bundles:
            _expect_size(f"bundle of {site}", bundle, n * SHARE_BYTES + OVERHEAD)

    def _check_pairs(self, number: int, dealt: Dealt) -> None:
        """Both ends of a pair committed to the same seed, or their masks would not cancel."""
        for other, earlier in self._dealt.items():
            if piece(dealt.commitments, other, COMMITMENT_BYTES) != piece(
                earlier.commitments, number, COMMITMENT_BYTES
            ):
                raise PeerError(
                    f"contribution of {self.sites[number]}",
                    expected=f"the pair seed that {self.sites[other]} has",
                    got="another: one of the two is at fault",
                )


def _expect_size(what: str, data: bytes | memoryview, size: int) -> None:
    if len(data) != size:
        raise PeerError(what, expected=f"{size} bytes", got=f"{len(data)} bytes")
