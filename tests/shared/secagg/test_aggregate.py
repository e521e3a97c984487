"""Whole aggregates as `Federation.aggregate` runs them, and what must not cancel, leak or repeat.

That sums are exact for every set of sites lost is in test_exact.py.
"""

from collections.abc import Collection
from itertools import combinations
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray
from scipy.stats import chi2

from shared.errors import OperatorError, PeerError
from shared.secagg.collector import Collector
from shared.secagg.masks import Counts, Words
from shared.secagg.messages import Contribution
from shared.secagg.packing import Bits, unpack_words
from shared.secagg.plan import Plan
from shared.secagg.rehearsal import Federation
from shared.wire import unpack
from tests.shared.secagg.rounds import ADVERSARIES, Adversary, Rounds, contribution, federation_of

LENGTH = 5


def vectors(federation: Federation, length: int = LENGTH) -> dict[str, NDArray[np.uint32]]:
    random = np.random.default_rng(1)
    return {h.name: random.integers(0, 2**32, length, dtype=np.uint32) for h in federation.hospitals}


def check_exact(
    plan: Plan, before: Collection[str], unconfirmed: Collection[str] = (), after: Collection[str] = ()
) -> None:
    """The exact sum over who contributed, or an OperatorError where fewer than t contribute, confirm or answer."""
    federation = federation_of(len(plan.cohort))
    inputs = vectors(federation)
    survivors = {name for name in inputs if name not in before}
    confirming = survivors - set(unconfirmed) if plan.adversary == "active" else survivors
    least = min(len(confirming), len(survivors - set(after)))

    def aggregate() -> Words:
        return federation.aggregate(plan, inputs, lost_before=before, unconfirmed=unconfirmed, lost_after=after)

    if least < plan.threshold:
        with pytest.raises(OperatorError, match=f"at least {plan.threshold} of"):
            aggregate()
        return
    assert (aggregate() == sum(inputs[name] for name in survivors)).all()


@pytest.mark.parametrize("adversary", ADVERSARIES)
@pytest.mark.parametrize("threshold", [2, 3])
def test_every_drop_out_of_three_sites(threshold: int, adversary: Adversary) -> None:
    """Each site stays, or is lost before contributing, before confirming, before answering."""
    plan = federation_of(3).plan(length=LENGTH, threshold=threshold, adversary=adversary)
    for code in range(4**3):
        fates = {name: code // 4**k % 4 for k, name in enumerate("abc")}
        check_exact(plan, *([name for name, found in fates.items() if found == fate] for fate in (1, 2, 3)))


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_drop_outs_of_up_to_twelve_sites(data: st.DataObject) -> None:
    count = data.draw(st.integers(6, 12))
    threshold = data.draw(st.integers(count // 2 + 1, count))
    federation = federation_of(count)
    names = st.sets(st.sampled_from([h.name for h in federation.hospitals]), max_size=count - threshold + 1)
    before, unconfirmed, after = (data.draw(names) for _ in range(3))
    adversary = data.draw(st.sampled_from(ADVERSARIES))
    check_exact(federation.plan(length=LENGTH, threshold=threshold, adversary=adversary), before, unconfirmed, after)


@pytest.mark.parametrize("adversary", ADVERSARIES)
def test_wrapping_vectors_longer_than_a_chunk(adversary: Adversary) -> None:
    federation = federation_of(3)
    length = 70_001
    inputs = vectors(federation, length)
    plan = federation.plan(length=length, adversary=adversary)
    total = federation.aggregate(plan, inputs, lost_before="b")
    assert (total == inputs["a"] + inputs["c"]).all()


def masked(federation: Federation, plan: Plan, name: str, vector: Words) -> Words:
    hospital = next(h for h in federation.hospitals if h.name == name)
    return unpack_words(federation.contribute(plan, hospital, vector).vector, plan.length, plan.bits)


def uniform(words: Words, bits: int = 32) -> bool:
    """Chi-square over the lowest and the highest byte of `bits`, α = 1e-9 each."""
    found = []
    for place in (0, bits - 8):
        counts = np.bincount(words >> np.array(place, words.dtype) & np.array(255, words.dtype), minlength=256)
        expected = words.size / 256
        found.append(chi2.sf(((counts - expected) ** 2 / expected).sum(), df=255))
    return bool(min(found) > 1e-9)


@pytest.mark.parametrize("bits", [32, 16, 13, 10])
def test_a_masked_vector_is_uniform_whatever_the_vector(bits: Bits) -> None:
    federation = federation_of(2)
    plan = federation.plan(length=1 << 18, bits=bits)
    vector: Words = np.zeros(plan.length, plan.dtype)
    assert not uniform(vector, bits)
    first, again = (masked(federation, plan, "a", vector) for _ in range(2))
    assert uniform(first, bits)
    assert uniform(first - again, bits)  # the self masks alone


@pytest.mark.parametrize("bits", [32, 16, 13, 10])
def test_a_sum_of_masked_vectors_is_uniform_before_step_three(bits: Bits) -> None:
    federation = federation_of(2)
    plan = federation.plan(length=1 << 18, bits=bits)
    vector: Words = np.zeros(plan.length, plan.dtype)
    assert uniform(masked(federation, plan, "a", vector) + masked(federation, plan, "b", vector), bits)


# counts


def masked_counts(plan: Plan, name: str, counts: Counts) -> Counts:
    """As they travel."""
    hospital = next(h for h in federation_of(len(plan.cohort)).hospitals if h.name == name)
    sent = contribution(plan, hospital, counts, np.zeros(plan.length, plan.dtype))
    return np.frombuffer(unpack(Contribution, sent.contribution).counts, "<u8")


def uniform_counts(counts: Counts) -> bool:
    """The low and the high half of each, as words are looked at."""
    halves = counts.view("<u4").reshape(-1, 2)
    return uniform(halves[:, 0]) and uniform(halves[:, 1])


@pytest.mark.parametrize("value", [0, 1, 2**48 - 1, 2**64 - 1])
def test_masked_counts_are_uniform_whatever_they_are(value: int) -> None:
    plan = replace(federation_of(2).plan(length=0), counts=1 << 18)
    counts = np.full(plan.counts, value, "<u8")
    assert not uniform_counts(counts)
    first, again, other = (masked_counts(plan, name, counts) for name in "aab")
    assert uniform_counts(first)
    assert uniform_counts(first - again)  # the self masks alone
    assert uniform_counts(first + other)  # the sum before step 3


def test_masked_counts_of_a_site_tell_nothing_of_their_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same self seed twice: what is added is the same for any values, and uniform in a site's real life."""
    plan = replace(federation_of(2).plan(length=0), counts=4)
    monkeypatch.setattr("shared.secagg.member.os.urandom", lambda size: bytes(range(size)))
    one, other = np.array([1, 10, 0, 2**48 - 1], "<u8"), np.array([1, 2**48 - 1, 7, 0], "<u8")
    assert np.array_equal(masked_counts(plan, "a", one) - one, masked_counts(plan, "a", other) - other)


def opened(adversary: Adversary, held: dict[str, list[int]], lost: str = "") -> list[int]:
    """The opened counts, where each of these sites holds so many beside its 1."""
    plan = replace(federation_of(len(held)).plan(length=0, adversary=adversary), counts=1 + len(held["a"]))
    rounds = Rounds.of(plan, counts={name: np.array([1, *values], "<u8") for name, values in held.items()})
    names = [name for name in held if name not in lost]
    return rounds.finish(rounds.collector(names), names)[0]


@pytest.mark.parametrize("adversary", ADVERSARIES)
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((10, 30), (20, 20)),
        ((0, 40), (39, 1)),
        ((2**16, 1), (2**15, 2**15 + 1)),  # of limbs of 16 bits the sums would differ: (1, 1) and (0, 65537)
        ((2**8 - 1, 1), (2**7, 2**7)),
        ((2**48 - 1, 2**48 - 1), (2**48 - 2, 2**48)),
    ],
)
def test_the_opened_sum_tells_nothing_but_the_sum(
    one: tuple[int, int], other: tuple[int, int], adversary: Adversary
) -> None:
    assert opened(adversary, {"a": [one[0]], "b": [one[1]]}) == [2, sum(one)]
    assert opened(adversary, {"a": [other[0]], "b": [other[1]]}) == [2, sum(one)]


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(0, 2**48 - 1), min_size=3, max_size=3), st.randoms(use_true_random=False))
def test_any_other_counts_of_the_same_sum_open_alike(values: list[int], random: Random) -> None:
    """Each is split anew: the sites that stay hold other shares of the same sum. c is lost."""
    first = random.randint(0, values[0] + values[1])
    split = [first, values[0] + values[1] - first]
    found = [
        opened("semi-honest", {"a": [parts[0]], "b": [parts[1]], "c": [values[2]]}, lost="c")
        for parts in (values, split)
    ]
    assert found == [[2, values[0] + values[1]]] * 2


@pytest.mark.parametrize("adversary", ADVERSARIES)
def test_two_sites_given_different_models_share_no_mask(adversary: Adversary) -> None:
    """A lying coordinator shows b another model: b's masks fit no other site's."""
    federation = federation_of(2)
    honest = federation.plan(length=LENGTH, adversary=adversary)
    lie = federation.plan(length=LENGTH, adversary=adversary, round=2)
    a, b = federation.hospitals
    _, data, vector = federation.contribute(lie, b, vectors(federation)["b"])
    collector = Collector(honest, federation.roster)
    with pytest.raises(PeerError, match="plan"):
        collector.add(data, vector)
    zeros = np.zeros(LENGTH, np.uint32)
    of_a, of_b = (federation.contribute(plan, h, zeros).state.seeds for plan, h in ((honest, a), (lie, b)))
    assert of_a[1] != of_b[0]
    assert of_a[1] == federation.contribute(honest, b, zeros).state.seeds[0]


def test_two_sites_told_of_different_modes_share_no_mask() -> None:
    """So a coordinator cannot have one site wait for confirmations and another go without."""
    federation = federation_of(2)
    zeros = np.zeros(LENGTH, np.uint32)
    seeds = [
        federation.contribute(federation.plan(length=LENGTH, adversary=adversary), hospital, zeros).state.seeds[other]
        for adversary, hospital, other in zip(ADVERSARIES, federation.hospitals, (1, 0), strict=True)
    ]
    assert seeds[0] != seeds[1]


@pytest.mark.parametrize("adversary", ADVERSARIES)
def test_every_pair_and_plan_has_seeds_and_keys_of_its_own(adversary: Adversary) -> None:
    federation = federation_of(4)
    seeds: list[bytes] = []
    openers: list[bytes] = []
    for round in (1, 2):
        plan = federation.plan(length=1, round=round, adversary=adversary)
        for hospital in federation.hospitals:
            state = federation.contribute(plan, hospital, np.zeros(1, np.uint32)).state
            seeds.extend(seed for seed in state.seeds if seed)
            openers.extend(key for key in state.openers if key)
    pairs, rounds = len(list(combinations(range(4), 2))), 2
    assert len(set(seeds)) == pairs * rounds  # each known to both ends
    assert len(set(openers)) == 2 * pairs * rounds  # each direction its own
    assert not set(seeds) & set(openers)
