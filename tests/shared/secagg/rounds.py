"""What the tests of both roles share: a plan with everything its sites send in step 1, honest or not.

A contribution is made once per plan and site and serves every test of it: to share its secrets is what takes time.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain, combinations
from typing import Any, Literal

import numpy as np
import pytest
from msgspec.structs import replace

from shared.errors import OperatorError
from shared.secagg.collector import Collector, Total
from shared.secagg.masks import Counts, Words, filled
from shared.secagg.member import Masked, Plain, confirm, contribute, unmask
from shared.secagg.messages import (
    ANSWER_LABEL,
    CONFIRM_LABEL,
    CONTRIBUTION_LABEL,
    Contribution,
    UnmaskAnswer,
    answer_parts,
    confirm_parts,
    contribution_parts,
    survivors_digest,
)
from shared.secagg.packing import Bits
from shared.secagg.plan import Plan, SiteRules
from shared.secagg.rehearsal import Federation, Hospital
from shared.secagg.shelf import Shelf
from shared.wire import pack, unpack

Adversary = Literal["active", "semi-honest"]

ADVERSARIES: tuple[Adversary, ...] = ("active", "semi-honest")
WIDTHS: tuple[Bits, ...] = (32, 16, 15, 14, 13, 12, 11, 10)
RULES = SiteRules()

#: A sum in Python's integers: counts mod 2^64, words mod 2^bits.
Sums = tuple[list[int], list[int]]


@cache
def federation_of(count: int) -> Federation:
    return Federation.of(count)


def edge_words(length: int, bits: int, seed: int) -> Words:
    """Random words, half of them at the edges: 0, 2^bits - 1, 2^(bits - 1)."""
    random = np.random.default_rng(seed)
    words = random.integers(0, 2**bits, length)
    edges = random.choice([0, 2**bits - 1, 2 ** (bits - 1)], length)
    chosen: Words = np.where(random.random(length) < 0.5, words, edges).astype("<u4" if bits == 32 else "<u2")
    return chosen


def edge_counts(count: int, seed: int) -> Counts:
    """1, and random counts, half of them at the edges: 0, 1, 2^48 - 1, 2^64 - 1."""
    random = np.random.default_rng(seed)
    values = random.integers(0, 2**64, count, np.uint64)
    edges = random.choice(np.array([0, 1, 2**48 - 1, 2**64 - 1], "<u8"), count)
    chosen: Counts = np.where(random.random(count) < 0.5, values, edges).astype("<u8")
    chosen[0] = 1
    return chosen


def contribution(plan: Plan, hospital: Hospital, counts: Counts, vector: Words) -> Masked:
    """Step 1 at one hospital."""
    seat = federation_of(len(plan.cohort)).seat(plan, hospital)
    return contribute(seat, Plain(counts, filled(vector)), run_key=hospital.run_key, identity=hospital.identity)


@dataclass(frozen=True)
class Rounds:
    """One plan, and by site what it holds and what it sent; the later steps are gone through in many ways."""

    plan: Plan
    counts: Mapping[str, Counts]
    vectors: Mapping[str, Words]
    members: Mapping[str, Masked]

    @classmethod
    def of(
        cls,
        plan: Plan,
        *,
        counts: Mapping[str, Counts] | None = None,
        vectors: Mapping[str, Words] | None = None,
        seed: int = 0,
    ) -> "Rounds":
        """Counts and vectors at the edges, unless given. `plan`: of `federation_of`."""
        sites = plan.sites()
        counts = counts or {name: edge_counts(plan.counts, seed + k) for k, name in enumerate(sites)}
        vectors = vectors or {name: edge_words(plan.length, plan.bits, seed + k) for k, name in enumerate(sites)}
        hospitals = federation_of(len(sites)).hospitals
        members = {h.name: contribution(plan, h, counts[h.name], vectors[h.name]) for h in hospitals}
        return cls(plan, counts, vectors, members)

    @property
    def names(self) -> tuple[str, ...]:
        return self.plan.sites()

    @property
    def active(self) -> bool:
        return self.plan.adversary == "active"

    def hospital(self, name: str) -> Hospital:
        return federation_of(len(self.names)).hospitals[self.names.index(name)]

    def total_of(self, names: Iterable[str]) -> Sums:
        """The sum over `names` of what they hold."""
        names = list(names)
        counts = zip(*(self.counts[name].tolist() for name in names), strict=True)
        words = zip(*(self.vectors[name].tolist() for name in names), strict=True)
        return [sum(column) % 2**64 for column in counts], [sum(column) % 2**self.plan.bits for column in words]

    def read(self, total: Total) -> Sums:
        """An unmasked sum, without the noise above the bits of its words."""
        assert total.words.dtype == self.plan.dtype
        assert total.counts.dtype == np.uint64
        return [int(count) for count in total.counts], [int(word) % 2**self.plan.bits for word in total.words]

    # the steps, honestly

    def collector(self, names: Iterable[str] = (), shelf: Shelf | None = None) -> Collector:
        """With the contributions of `names`."""
        return self.add(Collector(self.plan, federation_of(len(self.names)).roster, shelf), names)

    def add(self, collector: Collector, names: Iterable[str]) -> Collector:
        for name in names:
            assert collector.add(self.members[name].contribution, self.members[name].vector) == name
        return collector

    def confirmation(self, collector: Collector, name: str) -> bytes:
        request, identity = collector.ask_confirm(name), self.hospital(name).identity
        return confirm(self.members[name].state, request, identity=identity, rules=RULES)

    def confirm(self, collector: Collector, names: Iterable[str]) -> Collector:
        for name in names:
            assert collector.confirm(self.confirmation(collector, name)) == name
        return collector

    def settle(self, collector: Collector, names: Iterable[str]) -> Collector:
        """Step 2 by `names`, where there is one."""
        if self.active:
            self.confirm(collector, names).settle()
        return collector

    def unmasking(self, names: Iterable[str]) -> Collector:
        """Steps 1 and 2 done by `names`."""
        names = tuple(names)
        collector = self.collector(names)
        assert collector.close() == names
        return self.settle(collector, names)

    def unmask(self, name: str, request: bytes) -> bytes:
        return unmask(self.members[name].state, request, identity=self.hospital(name).identity, rules=RULES)

    def answer(self, collector: Collector, names: Iterable[str]) -> Collector:
        for name in names:
            assert collector.answer(self.unmask(name, collector.request(name))) == name
        return collector

    def finish(self, collector: Collector, names: Iterable[str]) -> Sums:
        """Everything by `names` after the last contribution."""
        names = tuple(names)
        collector.close()
        return self.read(self.answer(self.settle(collector, names), names).finish())

    # the steps, by a hostile but rightful site

    def message(self, name: str) -> Contribution:
        return unpack(Contribution, self.members[name].contribution)

    def signed(self, name: str, vector: memoryview | None = None, **change: Any) -> tuple[bytes, memoryview]:
        """Its contribution with another vector or other fields, rightly signed."""
        message = replace(self.message(name), **change)
        vector = self.members[name].vector if vector is None else vector
        signature = self.hospital(name).identity.sign(CONTRIBUTION_LABEL, *contribution_parts(message, vector))
        return pack(replace(message, signature=signature)), vector

    def signed_answer(self, collector: Collector, name: str, **change: Any) -> bytes:
        """Its answer with other fields, rightly signed."""
        message = replace(unpack(UnmaskAnswer, self.unmask(name, collector.request(name))), **change)
        return pack(replace(message, signature=self.hospital(name).identity.sign(ANSWER_LABEL, *answer_parts(message))))

    def confirm_signature(
        self, name: str, survivors: Iterable[str] = "abcd", plan: bytes | None = None, label: str = CONFIRM_LABEL
    ) -> bytes:
        """What it signs to confirm, whatever that is."""
        plan = plan or self.plan.digest()
        return self.hospital(name).identity.sign(label, *confirm_parts(plan, survivors_digest(plan, tuple(survivors))))


@cache
def rounds_of(
    count: int,
    adversary: Adversary,
    threshold: int = 0,
    colluders: int = 0,
    bits: Bits = 32,
    length: int = 3,
    counts: int = 3,
) -> Rounds:
    plan = federation_of(count).plan(
        length=length, threshold=threshold, colluders=colluders, adversary=adversary, bits=bits
    )
    return Rounds.of(replace(plan, counts=counts))


def subsets(names: Iterable[str], least: int = 0) -> Iterator[tuple[str, ...]]:
    names = list(names)
    return chain.from_iterable(combinations(names, size) for size in range(least, len(names) + 1))


def flip(data: bytes | memoryview, index: int) -> bytes:
    """`data` with the lowest bit of one byte changed."""
    data = bytes(data)
    return data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]


def refused(step: Callable[[], object], what: str, plan: Plan, got: int) -> None:
    """`step` raises for fewer than t."""
    expected = f"{what}: expected at least {plan.threshold} of {len(plan.cohort)} sites, got {got}"
    with pytest.raises(OperatorError, match=expected):
        step()
