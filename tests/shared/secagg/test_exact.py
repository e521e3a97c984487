"""The unmasked sum is the integer sum, for every set of sites lost at every step; below the threshold there is none.

What a site may do once it was asked to contribute: never do so; or contribute and, in active mode, confirm or not, and
then answer or not. Small cohorts are gone through in every combination; larger ones by every single loss, by losses
drawn at random and by what Hypothesis finds. A contribution is made once per plan and site and serves every
combination: to share its secrets is what takes time. That grows as n² × t, to a CPU-second a site at 200 sites, so the
largest whole round here has 60; what depends on 200 sites otherwise, the sums and their quantiser, is tested at 200.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain, combinations
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray

from shared.errors import MisuseError, OperatorError, PeerError
from shared.quantize import Quantizer
from shared.secagg.collector import Collector
from shared.secagg.keystream import CHUNK_BYTES
from shared.secagg.masks import Words
from shared.secagg.member import Masked, confirm, unmask
from shared.secagg.messages import UnmaskRequest
from shared.secagg.plan import Plan, SiteRules, threshold_for
from shared.secagg.rehearsal import Federation, Hospital
from shared.wire import pack, unpack

Adversary = Literal["active", "semi-honest"]
Bits = Literal[32, 16, 15, 14, 13, 12, 11, 10]

WIDTHS: tuple[Bits, ...] = (32, 16, 15, 14, 13, 12, 11, 10)
ADVERSARIES: tuple[Adversary, ...] = ("active", "semi-honest")
RULES = SiteRules()


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


@dataclass(frozen=True)
class Aggregate:
    """One plan with everything its sites send in step 1; the later steps are gone through in many ways."""

    federation: Federation
    plan: Plan
    vectors: Mapping[str, Words]
    members: Mapping[str, Masked]
    hospitals: Mapping[str, Hospital]

    @classmethod
    def of(cls, plan: Plan, seed: int = 0) -> "Aggregate":
        federation = federation_of(len(plan.cohort))
        hospitals = {hospital.name: hospital for hospital in federation.hospitals}
        vectors = {name: edge_words(plan.length, plan.bits, seed + k) for k, name in enumerate(hospitals)}
        members = {name: federation.contribute(plan, h, vectors[name]) for name, h in hospitals.items()}
        return cls(federation, plan, vectors, members, hospitals)

    @property
    def names(self) -> tuple[str, ...]:
        return self.plan.sites()

    def empty(self) -> Collector:
        return Collector(self.plan, self.federation.roster)

    def add(self, collector: Collector, names: Iterable[str]) -> Collector:
        for name in names:
            collector.add(self.members[name].contribution, self.members[name].vector)
        return collector

    def confirm(self, collector: Collector, names: Iterable[str]) -> Collector:
        for name in names:
            request, identity = collector.ask_confirm(name), self.hospitals[name].identity
            collector.confirm(confirm(self.members[name].state, request, identity=identity, rules=RULES))
        return collector

    def unmask(self, name: str, request: bytes) -> bytes:
        return unmask(self.members[name].state, request, identity=self.hospitals[name].identity, rules=RULES)

    def sum_of(self, names: Iterable[str]) -> list[int]:
        """The integer sum mod 2^bits, in Python's integers."""
        rows = [self.vectors[name].tolist() for name in names]
        return [sum(column) % 2**self.plan.bits for column in zip(*rows, strict=True)]

    def words(self, total: Words) -> list[int]:
        """An unmasked sum without the noise above its bits."""
        assert total.dtype == self.plan.dtype
        return [int(word) % 2**self.plan.bits for word in total]

    def check(self, lost: Iterable[str], unconfirmed: Iterable[str], silent: Iterable[str]) -> None:
        """One combination, from step 1 on: the exact sum over who contributed, or an OperatorError at the step at
        which fewer than t were left."""
        threshold, lost, unconfirmed, silent = self.plan.threshold, set(lost), set(unconfirmed), set(silent)
        survivors = [name for name in self.names if name not in lost]
        collector = self.add(self.empty(), survivors)
        if len(survivors) < threshold:
            refused(collector.close, "contributions", self.plan, len(survivors))
            return
        collector.close()
        if self.plan.adversary == "active":
            confirming = [name for name in survivors if name not in unconfirmed]
            self.confirm(collector, confirming)
            if len(confirming) < threshold:
                refused(collector.settle, "confirmations", self.plan, len(confirming))
                return
            collector.settle()
        answering = [name for name in survivors if name not in silent]
        for name in answering:
            collector.answer(self.unmask(name, collector.request(name)))
        if len(answering) < threshold:
            refused(collector.finish, "unmask answers", self.plan, len(answering))
            return
        total = collector.finish()
        assert self.words(total) == self.sum_of(survivors)
        assert collector.faults == []


def refused(step: Callable[[], object], what: str, plan: Plan, got: int) -> None:
    expected = f"{what}: expected at least {plan.threshold} of {len(plan.cohort)} sites, got {got}"
    with pytest.raises(OperatorError, match=expected):
        step()


@cache
def aggregate_of(
    count: int, adversary: Adversary, threshold: int, colluders: int = 0, bits: Bits = 32, length: int = 3
) -> Aggregate:
    plan = federation_of(count).plan(
        length=length, threshold=threshold, colluders=colluders, adversary=adversary, bits=bits
    )
    return Aggregate.of(plan)


def subsets(names: Iterable[str], least: int = 0) -> Iterator[tuple[str, ...]]:
    names = list(names)
    return chain.from_iterable(combinations(names, size) for size in range(least, len(names) + 1))


# every combination, small cohorts


def thresholds(count: int) -> Iterator[tuple[int, int]]:
    """Every t that some plan of `count` sites may have, each with the most colluders it holds against."""
    for threshold in range(max(2, count // 2 + 1), count + 1):
        yield threshold, 2 * threshold - count - 1


def every_answer(aggregate: Aggregate, collector: Collector, survivors: tuple[str, ...]) -> int:
    """Step 3 and 4 for every part of the survivors that answers; how many there were."""
    answers = {name: aggregate.unmask(name, collector.request(name)) for name in survivors}
    expected = aggregate.sum_of(survivors)
    tried = 0
    for answering in subsets(survivors):
        branch = copy.deepcopy(collector)
        for name in answering:
            branch.answer(answers[name])
        tried += 1
        if len(answering) < aggregate.plan.threshold:
            refused(branch.finish, "unmask answers", aggregate.plan, len(answering))
            continue
        assert aggregate.words(branch.finish()) == expected
        assert branch.faults == []
    return tried


@pytest.mark.parametrize("adversary", ADVERSARIES)
@pytest.mark.parametrize(
    ("count", "threshold", "colluders"), [(n, t, c) for n in range(2, 7) for t, c in thresholds(n)]
)
def test_every_combination_of_losses_of_up_to_six_sites(
    count: int, threshold: int, colluders: int, adversary: Adversary
) -> None:
    """Each site: lost; or confirming or not, and answering or not: 5^n combinations in active mode, 3^n without."""
    aggregate = aggregate_of(count, adversary, threshold, colluders)
    tried = 0
    for survivors in subsets(aggregate.names):
        collector = aggregate.add(aggregate.empty(), survivors)
        if len(survivors) < threshold:
            refused(collector.close, "contributions", aggregate.plan, len(survivors))
            tried += (4 if adversary == "active" else 2) ** len(survivors)
            continue
        assert collector.close() == survivors
        if adversary == "semi-honest":
            tried += every_answer(aggregate, collector, survivors)
            continue
        for confirming in subsets(survivors):
            branch = aggregate.confirm(copy.deepcopy(collector), confirming)
            if len(confirming) < threshold:
                refused(branch.settle, "confirmations", aggregate.plan, len(confirming))
                tried += 2 ** len(survivors)
                continue
            branch.settle()
            tried += every_answer(aggregate, branch, survivors)
    assert tried == (5 if adversary == "active" else 3) ** count


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("adversary", ADVERSARIES)
def test_every_combination_of_losses_at_every_width(bits: Bits, adversary: Adversary) -> None:
    """Four sites, t = 3, eleven words, which end within a byte at every packed width."""
    aggregate = aggregate_of(4, adversary, 3, 1, bits, 11)
    for survivors in subsets(aggregate.names, 3):
        collector = aggregate.add(aggregate.empty(), survivors)
        collector.close()
        if adversary == "active":
            aggregate.confirm(collector, survivors[:3]).settle()
        every_answer(aggregate, collector, survivors)


# below the threshold


@pytest.mark.parametrize("adversary", ADVERSARIES)
@pytest.mark.parametrize(("count", "threshold"), [(n, t) for n in range(3, 6) for t, _ in thresholds(n)])
def test_below_the_threshold_no_site_tells_anything(count: int, threshold: int, adversary: Adversary) -> None:
    """A coordinator that goes on with fewer contributions than t: everything it asks for is right but their number,
    each site refuses, and a state that refused answers the full set after it."""
    aggregate = aggregate_of(count, adversary, threshold)
    whole = aggregate.add(aggregate.empty(), aggregate.names)
    whole.close()
    if adversary == "active":
        aggregate.confirm(whole, aggregate.names).settle()
    requests = {name: unpack(UnmaskRequest, whole.request(name)) for name in aggregate.names}
    for name, request in requests.items():
        peers = [peer for peer in aggregate.names if peer != name]
        bundles = dict(zip(peers, request.bundles, strict=True))
        for others in subsets(peers):
            survivors = tuple(sorted((name, *others)))
            if len(survivors) >= threshold:
                continue
            hostile = replace(
                request,
                survivors=survivors,
                bundles=tuple(bundles[peer] for peer in others),
                confirmations=request.confirmations[: len(survivors)],
            )
            with pytest.raises(PeerError, match=f"survivors: expected at least {threshold} sites"):
                aggregate.unmask(name, pack(hostile))
        aggregate.unmask(name, pack(request))


@pytest.mark.parametrize("adversary", ADVERSARIES)
def test_a_failed_step_hands_nothing_over_and_waits_for_more(adversary: Adversary) -> None:
    """The sum stays masked behind each OperatorError, and is exact once enough have come."""
    aggregate = aggregate_of(5, adversary, 3)
    collector = aggregate.add(aggregate.empty(), "ab")
    refused(collector.close, "contributions", aggregate.plan, 2)
    with pytest.raises(MisuseError):
        collector.finish()
    aggregate.add(collector, "cd").close()
    if adversary == "active":
        aggregate.confirm(collector, "bc")
        refused(collector.settle, "confirmations", aggregate.plan, 2)
        for step in (lambda: collector.request("a"), collector.finish):
            with pytest.raises(MisuseError):
                step()
        aggregate.confirm(collector, "d").settle()
    for name in "ad":
        collector.answer(aggregate.unmask(name, collector.request(name)))
        with pytest.raises(OperatorError, match="unmask answers"):
            collector.finish()
    collector.answer(aggregate.unmask("b", collector.request("b")))
    assert aggregate.words(collector.finish()) == aggregate.sum_of("abcd")


# up to twenty sites


@pytest.mark.parametrize("adversary", ADVERSARIES)
@pytest.mark.parametrize("count", range(6, 21))
def test_every_single_loss_and_random_ones_of_up_to_twenty_sites(count: int, adversary: Adversary) -> None:
    colluders = count % 4
    aggregate = aggregate_of(count, adversary, threshold_for(count, 0.5, colluders), colluders)
    random = np.random.default_rng(count)
    aggregate.check((), (), ())
    # one site lost at each step, each site once at one of them; all three steps for the first and the last one
    for k, name in enumerate(aggregate.names):
        fates = range(3) if k in (0, count - 1) else (k % 3,)
        for fate in fates:
            aggregate.check(*([name] if step == fate else [] for step in range(3)))
    spare = count - aggregate.plan.threshold
    for _ in range(3):
        names = [str(name) for name in random.permutation(aggregate.names)]
        lost = int(random.integers(0, spare + 1))
        late = int(random.integers(0, spare - lost + 2))  # at times one too many
        aggregate.check(names[:lost], names[lost : lost + late], random.permutation(names[lost:])[:late].tolist())


@pytest.mark.parametrize("count", [7, 12, 20])
def test_as_many_losses_as_the_threshold_bears_and_one_more(count: int) -> None:
    """At each step alone, the first in the cohort and the last ones."""
    aggregate = aggregate_of(count, "active", threshold_for(count, 0.5, 1), 1)
    most = count - aggregate.plan.threshold
    for names in (aggregate.names, aggregate.names[::-1]):
        for losses in (most, most + 1):
            for step in range(3):
                aggregate.check(*(names[:losses] if step == fate else () for fate in range(3)))


# whatever Hypothesis finds


@st.composite
def aggregates(draw: st.DrawFn) -> Aggregate:
    """Up to twelve sites with whatever threshold, colluders, mode, width and length; or 23 or 40, ready made."""
    count = draw(st.one_of(st.integers(2, 12), st.sampled_from([23, 40])))
    if count > 12:
        return aggregate_of(count, "active", threshold_for(count, 0.5, 3), 3, 13, 5)
    threshold = draw(st.integers(threshold_for(count, 0.5), count))
    return aggregate_of(
        count,
        draw(st.sampled_from(ADVERSARIES)),
        threshold,
        draw(st.integers(0, 2 * threshold - count - 1)),
        draw(st.sampled_from(WIDTHS)),
        draw(st.integers(1, 17)),
    )


@settings(max_examples=30, deadline=None)
@given(aggregates(), st.data())
def test_any_losses_of_up_to_forty_sites(aggregate: Aggregate, data: st.DataObject) -> None:
    most = len(aggregate.names) - aggregate.plan.threshold + 1
    names = st.sets(st.sampled_from(aggregate.names), max_size=most)
    aggregate.check(*(data.draw(names, step) for step in ("lost", "unconfirmed", "silent")))


def edge_lengths() -> st.SearchStrategy[int]:
    """Around the pieces in which words are masked, packed and added, and their multiples."""
    edges = (1, CHUNK_BYTES // 8, CHUNK_BYTES // 4, CHUNK_BYTES // 2, CHUNK_BYTES)
    return st.builds(lambda edge, off: max(1, edge + off), st.sampled_from(edges), st.integers(-9, 9))


@settings(max_examples=25, deadline=None)
@given(
    length=edge_lengths(),
    bits=st.sampled_from(WIDTHS),
    lost=st.sampled_from(["", "a", "b", "c"]),
    silent=st.sampled_from(["", "a", "b", "c"]),
    seed=st.integers(0, 2**32),
)
def test_any_width_and_length_about_the_edges_of_a_chunk(
    length: int, bits: Bits, lost: str, silent: str, seed: int
) -> None:
    plan = federation_of(3).plan(length=length, bits=bits, adversary="semi-honest")
    aggregate = Aggregate.of(plan, seed)
    survivors = [name for name in "abc" if name != lost]
    if lost and silent and lost != silent:  # one answer too few
        aggregate.check(lost, "", silent)
        return
    collector = aggregate.add(aggregate.empty(), survivors)
    collector.close()
    for name in survivors:
        if name != silent:
            collector.answer(aggregate.unmask(name, collector.request(name)))
    total = collector.finish()
    expected = np.sum([aggregate.vectors[name] for name in survivors], axis=0, dtype=np.uint64)
    assert total.dtype == plan.dtype
    assert np.array_equal(total.astype(np.uint64) % 2**bits, expected % 2**bits)


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("word", ["0", "2^bits - 1", "2^(bits - 1)", "1"])
def test_words_at_the_edges_wrap_as_integers_do(bits: Bits, word: str) -> None:
    value = {"0": 0, "2^bits - 1": 2**bits - 1, "2^(bits - 1)": 2 ** (bits - 1), "1": 1}[word]
    federation = federation_of(5)
    plan = federation.plan(length=9, bits=bits, round=2)
    vectors = {h.name: np.full(9, value, plan.dtype) for h in federation.hospitals}
    for lost in ((), ("a",), ("c", "e")):
        total = federation.aggregate(plan, vectors, lost_before=lost)
        assert {int(found) % 2**bits for found in total} == {(5 - len(lost)) * value % 2**bits}


# many sites, many rounds


def test_sixty_sites_with_losses_at_every_step() -> None:
    """The largest whole round of the tests (module docstring): 7 lost, 6 that never confirm, 8 that never answer."""
    federation = federation_of(60)
    plan = federation.plan(length=4, bits=12, colluders=10)
    vectors = {h.name: edge_words(4, 12, k) for k, h in enumerate(federation.hospitals)}
    names = list(vectors)
    total = federation.aggregate(
        plan, vectors, lost_before=names[::9], unconfirmed=names[1::11], lost_after=names[2::8]
    )
    survivors = [name for name in names if name not in names[::9]]
    expected = [sum(int(vectors[name][k]) for name in survivors) % 2**12 for k in range(4)]
    assert [int(word) % 2**12 for word in total] == expected


def test_a_thousand_masked_rounds_are_exact_each() -> None:
    """Three sites, t = 2, both modes in turn, each site lost at each step in turn; the running sum of what was
    unmasked is the running sum of what was sent."""
    federation = federation_of(3)
    random = np.random.default_rng(1000)
    sent, found = np.zeros(4, np.int64), np.zeros(4, np.int64)
    for round in range(1000):
        adversary = ADVERSARIES[round % 2]
        plan = federation.plan(length=4, round=round, adversary=adversary)
        vectors = {name: random.integers(0, 2**32, 4, dtype=np.uint32) for name in "abc"}
        lost, fate = "abc"[round % 3], round // 3 % 4  # before, unconfirmed, silent, or not at all
        total = federation.aggregate(
            plan,
            vectors,
            lost_before=lost if fate == 0 else "",
            unconfirmed=lost if fate == 1 else "",
            lost_after=lost if fate == 2 else "",
        )
        expected = np.sum([vectors[name] for name in "abc" if fate or name != lost], axis=0, dtype=np.uint32)
        assert np.array_equal(total, expected), round
        sent += expected
        found += total
    assert np.array_equal(sent, found)


@pytest.mark.parametrize("bits", [32, 16, 12, 10])
def test_a_thousand_rounds_of_two_hundred_sites_do_not_drift(bits: Bits) -> None:
    """Quantised sums: exact as integers, and without bias beyond five standard errors of the mean of the rounds.

    A site's update has four entries: two are the same in every round, where rounding that leans one way would add up,
    and two are new. The entries of a site's thousand rounds are encoded in one call, each with a dither of its own as
    in a thousand calls. Weights differ by site, so that hardly any value is a whole step.
    """
    rounds, sites, entries = 1000, 200, 4
    quantizer = Quantizer(bound=1.0, sites=sites, bits=bits)
    integers = "<i4" if bits == 32 else "<i2"
    random = np.random.default_rng(bits)
    total = np.zeros(rounds * entries, quantizer.dtype)  # wrapping, as the coordinator adds
    whole = np.zeros(rounds * entries, np.int64)  # the same integers in 64 bits
    true: NDArray[np.float64] = np.zeros((rounds, entries))
    for site in range(sites):
        update = random.uniform(-1, 1, (rounds, entries)).astype(np.float32)
        update[:, :2] = update[0, :2]
        weight = (site + 1) / sites
        words = quantizer.encode(update.reshape(-1), weight, seed=site.to_bytes(32, "big"))
        total += words
        whole += words.view(integers)
        true += weight * update.astype(np.float64)
    signed = total.view(integers)
    assert np.array_equal(signed, whole)
    assert int(np.abs(whole).max()) < 2 ** (bits - 1)
    running = signed.reshape(rounds, entries).cumsum(axis=0, dtype=np.int64)
    assert np.array_equal(running, whole.reshape(rounds, entries).cumsum(axis=0))
    # decoded: the integers in steps, but for the rounding to float32
    step = quantizer.bound / quantizer.steps
    exact = whole * step
    assert np.allclose(quantizer.decode(total), exact, rtol=2**-23, atol=0)
    error = exact.reshape(rounds, entries) - true  # of each round's sum
    spread = error.std(axis=0, ddof=1)
    assert (np.abs(error.mean(axis=0)) < 5 * spread / np.sqrt(rounds)).all()
    assert (spread < np.sqrt(sites) * step / 2).all()  # half a step a site at most
