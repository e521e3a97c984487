"""The coordinator's role: add masked vectors up, settle the survivors, unmask the sum (PROTOCOL.md, steps 1 to 4).

Guarantees: `finish` gives the exact sum (counts mod 2^64, words mod 2^bits) of what the survivors sent, or raises; a
message that raises PeerError changed nothing; memory is one vector and 32 n² bytes, the rest lies on the shelf. Whoever
sends a wrong share or seed is named in `faults`, and the rest go on where t right shares remain.

Order: `add` per contribution, `close` once; in active mode `ask_confirm` per survivor, `confirm` per reply, `settle`
once; `request` per survivor, `answer` per reply, `finish` once; other orders are MisuseErrors. `close`, `settle` and
`finish` may be tried again after an OperatorError, once more sites came.

Not promised: that a site masked with the seeds it committed to. Two sites whose commitments to their pair
seed differ are found in `add`; a false self mask shows in the sum's first slot (PROTOCOL.md, the vector).
"""

from collections.abc import Container
from enum import Enum
from typing import NamedTuple

import numpy as np

from shared.crypto.identity import verify
from shared.crypto.roster import Roster
from shared.crypto.sealing import OVERHEAD
from shared.errors import MisuseError, OperatorError, PeerError
from shared.secagg.keystream import SEED_BYTES
from shared.secagg.masks import Counts, Words, add_count_masks, add_masks
from shared.secagg.messages import (
    ANSWER_LABEL,
    COMMITMENT_BYTES,
    CONFIRM_LABEL,
    CONTRIBUTION_LABEL,
    SHARE_COMMITMENT_BYTES,
    Confirmation,
    ConfirmRequest,
    Contribution,
    UnmaskAnswer,
    UnmaskRequest,
    answer_parts,
    confirm_parts,
    contribution_parts,
    piece,
    survivors_digest,
)
from shared.secagg.packing import add_packed, packed_size
from shared.secagg.plan import Plan, check_cohort
from shared.secagg.rebuild import Answered, Rebuilder
from shared.secagg.sharing import SHARE_BYTES
from shared.secagg.shelf import MemoryShelf, Shelf
from shared.wire import pack, unpack


class Total(NamedTuple):
    """A sum: uint64 [plan.counts], and words [plan.length] of plan.dtype, of which the low plan.bits bits are meant."""

    counts: Counts
    words: Words


class _Phase(Enum):
    COLLECTING = "add"
    CONFIRMING = "ask_confirm, confirm and settle"
    UNMASKING = "request, answer and finish"
    FINISHED = "nothing"


class Collector:
    """One aggregate of one plan, at the coordinator."""

    def __init__(self, plan: Plan, roster: Roster, shelf: Shelf | None = None) -> None:
        """Raises PeerError for a plan that no honest site would answer. `shelf`: in memory, unless given."""
        check_cohort(plan, roster)
        self.plan = plan
        self.digest = plan.digest()
        self.sites = plan.sites()
        #: who sent wrong shares or seeds, and what; filled by `finish`
        self.faults: list[str] = []
        self._roster = roster
        self._shelf = shelf or MemoryShelf()
        self._phase = _Phase.COLLECTING
        self._sum = Total(np.zeros(plan.counts, "<u8"), np.zeros(plan.length, plan.dtype))
        #: by cohort number: commitments to the secrets; signatures on the survivors; what answered
        self._commitments: dict[int, bytes] = {}
        self._confirmed: dict[int, bytes] = {}
        self._answers: dict[int, Answered] = {}

    def add(self, data: bytes | memoryview, vector: memoryview) -> str:
        """Step 1: check an encoded `Contribution`, add its packed `vector` to the sum; the name of its site."""
        self._expect(_Phase.COLLECTING)
        message = unpack(Contribution, data)
        number = self._check_sender(message.plan, message.site, self._commitments)
        self._check_sizes(message, vector)
        verify(
            self._roster.identity(message.site),
            message.signature,
            CONTRIBUTION_LABEL,
            *contribution_parts(message, vector),
        )
        self._check_pairs(number, message.commitments)
        # the shelf first: where it has no room, the sum is as before and the site may send again
        self._shelf.put(number, b"".join((message.share_commitments, *message.bundles)))
        add_packed(self._sum.words, vector, self.plan.bits)
        np.add(self._sum.counts, np.frombuffer(message.counts, "<u8"), out=self._sum.counts)
        self._commitments[number] = message.commitments
        return message.site

    def close(self) -> tuple[str, ...]:
        """End of step 1: the survivors U, in order. Raises OperatorError for fewer than t."""
        self._expect(_Phase.COLLECTING)
        self._expect_threshold("contributions", len(self._commitments))
        self._phase = _Phase.CONFIRMING if self.plan.adversary == "active" else _Phase.UNMASKING
        return self._survivors()

    def ask_confirm(self, site: str) -> bytes:
        """Step 2: the encoded `ConfirmRequest` for `site`, one of the survivors."""
        self._expect(_Phase.CONFIRMING)
        self._number(site)
        return pack(ConfirmRequest(plan=self.digest, site=site, survivors=self._survivors()))

    def confirm(self, data: bytes | memoryview) -> str:
        """Step 2: check an encoded `Confirmation` and keep it; the name of its site."""
        self._expect(_Phase.CONFIRMING)
        message = unpack(Confirmation, data)
        number = self._check_survivor(message, self._confirmed)
        verify(
            self._roster.identity(message.site),
            message.signature,
            CONFIRM_LABEL,
            *confirm_parts(self.digest, message.survivors),
        )
        self._confirmed[number] = message.signature
        return message.site

    def settle(self) -> None:
        """End of step 2. Raises OperatorError for fewer than t confirmations."""
        self._expect(_Phase.CONFIRMING)
        self._expect_threshold("confirmations", len(self._confirmed))
        self._phase = _Phase.UNMASKING

    def request(self, site: str) -> bytes:
        """Step 3: the encoded `UnmaskRequest` for `site`, one of the survivors."""
        self._expect(_Phase.UNMASKING)
        number = self._number(site)
        n, active = len(self.sites), self.plan.adversary == "active"
        size = _bundle_size(n)
        # dealer j leaves its own place out of its bundles
        bundles = tuple(
            self._shelf.get(j, _share_commitments_size(n) + size * (number if number < j else number - 1), size)
            for j in self._numbers()
            if j != number
        )
        confirmations = tuple(self._confirmed.get(j, b"") for j in self._numbers()) if active else ()
        return pack(
            UnmaskRequest(
                plan=self.digest,
                site=site,
                survivors=self._survivors(),
                bundles=bundles,
                confirmations=confirmations,
            )
        )

    def answer(self, data: bytes | memoryview) -> str:
        """Step 3: check an encoded `UnmaskAnswer` and keep it; the name of its site."""
        self._expect(_Phase.UNMASKING)
        message = unpack(UnmaskAnswer, data)
        number = self._check_survivor(message, self._answers)
        survivors, dropped = len(self._commitments), len(self.sites) - len(self._commitments)
        sizes = {
            "self shares": (message.self_shares, survivors * SHARE_BYTES),
            "pair seeds": (message.pair_seeds, dropped * SEED_BYTES),
            "pair shares": (message.pair_shares, (survivors - 1) * dropped * SHARE_BYTES),
        }
        for what, (field, size) in sizes.items():
            _expect_size(f"{what} of {message.site}", field, size)
        verify(self._roster.identity(message.site), message.signature, ANSWER_LABEL, *answer_parts(message))
        self._shelf.put(len(self.sites) + number, message.pair_shares)
        self._answers[number] = Answered(message.self_shares, message.pair_seeds)
        return message.site

    def finish(self, *, threads: int = 1) -> Total:
        """Step 4: the sum over the survivors, handed over and not kept.

        Raises OperatorError with fewer than t answers or t right shares of a secret: if no more answers
        come, the round is discarded and a new one trains anew.
        """
        self._expect(_Phase.UNMASKING)
        self._expect_threshold("unmask answers", len(self._answers))
        rebuilder = Rebuilder(self.plan, self._commitments, self._answers, self._shelf)
        try:
            masks = rebuilder.masks()
        finally:
            self.faults = rebuilder.faults
        total = self._sum
        add_count_masks(total.counts, masks)
        add_masks(total.words, masks, threads=threads)
        self._phase = _Phase.FINISHED
        self._sum = Total(np.zeros(0, "<u8"), np.zeros(0, self.plan.dtype))
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

    def _numbers(self) -> list[int]:
        """The survivors' cohort numbers, in order."""
        return sorted(self._commitments)

    def _survivors(self) -> tuple[str, ...]:
        return tuple(self.sites[k] for k in self._numbers())

    def _number(self, site: str) -> int:
        """The cohort number of a survivor."""
        if site not in self._survivors():
            raise MisuseError("request", expected="one for a survivor", got=site)
        return self.sites.index(site)

    def _check_sender(self, plan: bytes, site: str, seen: Container[int]) -> int:
        """The sender's cohort number, or PeerError for another plan, a stranger or a second message."""
        if plan != self.digest:
            raise PeerError("message", expected=f"plan {self.digest.hex()[:16]}", got=plan.hex()[:16])
        if site not in self.sites:
            raise PeerError("message", expected="a member of the cohort", got=site)
        number = self.sites.index(site)
        if number in seen:
            raise PeerError(f"message of {site}", expected="one", got="a second")
        return number

    def _check_survivor(self, message: Confirmation | UnmaskAnswer, seen: Container[int]) -> int:
        """The cohort number of a survivor who speaks of these very survivors, for the first time."""
        number = self._check_sender(message.plan, message.site, seen)
        what = f"{'confirmation' if isinstance(message, Confirmation) else 'answer'} of {message.site}"
        if number not in self._commitments:
            raise PeerError(what, expected="one of a survivor", got="a dropped site")
        if message.survivors != survivors_digest(self.digest, self._survivors()):
            raise PeerError(what, expected="the survivors asked for", got="others")
        return number

    def _check_sizes(self, message: Contribution, vector: memoryview) -> None:
        n, site = len(self.sites), message.site
        _expect_size(f"vector of {site}", vector, packed_size(self.plan.length, self.plan.bits))
        _expect_size(f"counts of {site}", message.counts, 8 * self.plan.counts)
        _expect_size(f"commitments of {site}", message.commitments, n * COMMITMENT_BYTES)
        _expect_size(f"share commitments of {site}", message.share_commitments, _share_commitments_size(n))
        if len(message.bundles) != n - 1:
            raise PeerError(f"bundles of {site}", expected=f"{n - 1}", got=f"{len(message.bundles)}")
        for bundle in message.bundles:
            _expect_size(f"bundle of {site}", bundle, _bundle_size(n))

    def _check_pairs(self, number: int, commitments: bytes) -> None:
        """Both ends of a pair committed to the same seed, or their masks would not cancel."""
        for other, earlier in self._commitments.items():
            if piece(commitments, other, COMMITMENT_BYTES) != piece(earlier, number, COMMITMENT_BYTES):
                raise PeerError(
                    f"contribution of {self.sites[number]}",
                    expected=f"the pair seed that {self.sites[other]} has",
                    got="another: one of the two is at fault",
                )


def _share_commitments_size(sites: int) -> int:
    return sites * sites * SHARE_COMMITMENT_BYTES


def _bundle_size(sites: int) -> int:
    return sites * SHARE_BYTES + OVERHEAD


def _expect_size(what: str, data: bytes | memoryview, size: int) -> None:
    if len(data) != size:
        raise PeerError(what, expected=f"{size} bytes", got=f"{len(data)} bytes")
