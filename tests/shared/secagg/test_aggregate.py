"""Whole aggregates: exact sums for every drop-out, and what must not cancel, leak or repeat."""

from collections.abc import Collection, Iterator
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import chi2

from shared.errors import OperatorError, PeerError
from shared.secagg.collector import Collector
from shared.secagg.messages import Contribution
from shared.secagg.plan import Plan
from shared.secagg.rehearsal import Federation
from shared.wire import unpack

LENGTH = 5
FEDERATIONS = {count: Federation.of(count) for count in range(2, 13)}


def vectors(federation: Federation, length: int = LENGTH) -> dict[str, NDArray[np.uint32]]:
    random = np.random.default_rng(1)
    return {h.name: random.integers(0, 2**32, length, dtype=np.uint32) for h in federation.hospitals}


def check_exact(plan: Plan, before: Collection[str], after: Collection[str]) -> None:
    """The exact sum over who contributed, or an OperatorError where fewer than t contribute or answer."""
    federation = FEDERATIONS[len(plan.cohort)]
    inputs = vectors(federation)
    survivors = [name for name in inputs if name not in before]
    if len(set(survivors) - set(after)) < plan.threshold:
        with pytest.raises(OperatorError, match=f"at least {plan.threshold} of"):
            federation.aggregate(plan, inputs, lost_before=before, lost_after=after)
        return
    total = federation.aggregate(plan, inputs, lost_before=before, lost_after=after)
    assert (total == sum(inputs[name] for name in survivors)).all()


def every_drop_out(names: list[str]) -> Iterator[tuple[list[str], list[str]]]:
    """Each split of the names into staying, lost before contributing, lost before answering."""
    for code in range(3 ** len(names)):
        fates = [code // 3**k % 3 for k in range(len(names))]
        yield (
            [name for name, fate in zip(names, fates, strict=True) if fate == 1],
            [name for name, fate in zip(names, fates, strict=True) if fate == 2],
        )


@pytest.mark.parametrize(
    ("count", "threshold"), [(n, t) for n in range(2, 6) for t in range(max(2, n // 2 + 1), n + 1)]
)
def test_every_drop_out_of_up_to_five_sites(count: int, threshold: int) -> None:
    federation = FEDERATIONS[count]
    plan = federation.plan(length=LENGTH, threshold=threshold)
    for before, after in every_drop_out([h.name for h in federation.hospitals]):
        check_exact(plan, before, after)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_drop_outs_of_up_to_twelve_sites(data: st.DataObject) -> None:
    count = data.draw(st.integers(6, 12))
    threshold = data.draw(st.integers(count // 2 + 1, count))
    federation = FEDERATIONS[count]
    names = st.sampled_from([h.name for h in federation.hospitals])
    before = data.draw(st.sets(names, max_size=count - threshold + 1))
    after = data.draw(st.sets(names, max_size=count - threshold + 1)) - before
    check_exact(federation.plan(length=LENGTH, threshold=threshold), before, after)


def test_wrapping_vectors_longer_than_a_chunk() -> None:
    federation = FEDERATIONS[3]
    length = 70_001
    inputs = vectors(federation, length)
    total = federation.aggregate(federation.plan(length=length), inputs, lost_before="b")
    assert (total == inputs["a"] + inputs["c"]).all()


def masked(federation: Federation, plan: Plan, name: str, vector: NDArray[np.uint32]) -> NDArray[np.uint32]:
    hospital = next(h for h in federation.hospitals if h.name == name)
    _, data = federation.contribute(plan, hospital, vector)
    return np.frombuffer(unpack(Contribution, data).vector, "<u4")


def uniform(words: NDArray[np.uint32]) -> bool:
    """Chi-square over byte values, α = 1e-9."""
    counts = np.bincount(words.view(np.uint8), minlength=256)
    expected = words.nbytes / 256
    return bool(chi2.sf(((counts - expected) ** 2 / expected).sum(), df=255) > 1e-9)


def test_a_masked_vector_is_uniform_whatever_the_vector() -> None:
    federation = FEDERATIONS[2]
    plan = federation.plan(length=1 << 18)
    vector = np.zeros(plan.length, np.uint32)
    assert not uniform(vector)
    first, again = (masked(federation, plan, "a", vector) for _ in range(2))
    assert uniform(first)
    assert uniform(first - again)  # the self masks alone


def test_a_sum_of_masked_vectors_is_uniform_before_step_three() -> None:
    federation = FEDERATIONS[2]
    plan = federation.plan(length=1 << 18)
    vector = np.zeros(plan.length, np.uint32)
    assert uniform(masked(federation, plan, "a", vector) + masked(federation, plan, "b", vector))


def test_two_sites_given_different_models_share_no_mask() -> None:
    """A lying coordinator shows b another model: b's masks fit no other site's."""
    federation = FEDERATIONS[2]
    honest = federation.plan(length=LENGTH)
    lie = federation.plan(length=LENGTH, round=2)
    _, data = federation.contribute(lie, federation.hospitals[1], vectors(federation)["b"])
    collector = Collector(honest, federation.roster)
    with pytest.raises(PeerError, match="plan"):
        collector.add(data)
    a, b = federation.hospitals
    seeds = [
        federation.contribute(plan, h, np.zeros(LENGTH, np.uint32))[0].seeds for plan, h in ((honest, a), (lie, b))
    ]
    assert seeds[0][1] != seeds[1][0]
    same = federation.contribute(honest, b, np.zeros(LENGTH, np.uint32))[0].seeds
    assert seeds[0][1] == same[0]


def test_every_pair_and_plan_has_seeds_and_keys_of_its_own() -> None:
    federation = FEDERATIONS[4]
    seeds: list[bytes] = []
    openers: list[bytes] = []
    for round in (1, 2):
        plan = federation.plan(length=1, round=round)
        for hospital in federation.hospitals:
            state, _ = federation.contribute(plan, hospital, np.zeros(1, np.uint32))
            seeds.extend(seed for seed in state.seeds if seed)
            openers.extend(key for key in state.openers if key)
    pairs, rounds = len(list(combinations(range(4), 2))), 2
    assert len(set(seeds)) == pairs * rounds  # each known to both ends
    assert len(set(openers)) == 2 * pairs * rounds  # each direction its own
    assert not set(seeds) & set(openers)
