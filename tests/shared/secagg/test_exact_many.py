"""Exact sums over more sites, more rounds and longer vectors than test_exact.py goes through in every combination.

By every single loss, by losses drawn at random and by what Hypothesis finds. What a contribution takes grows as n² × t,
to a CPU-second a site at 200 sites, so the largest whole round here has 60; what depends on 200 sites otherwise, the
sums and their quantiser, is tested at 200.
"""

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray

from shared.quantize import Quantizer
from shared.secagg.keystream import CHUNK_BYTES
from shared.secagg.packing import Bits
from shared.secagg.plan import threshold_for
from tests.shared.secagg.rounds import (
    ADVERSARIES,
    WIDTHS,
    Adversary,
    Rounds,
    federation_of,
    refused,
    rounds_of,
)

#: Bytes: pieces in which vectors are worked on.
EDGES = (CHUNK_BYTES // 2, CHUNK_BYTES, 2 * CHUNK_BYTES)


def check(rounds: Rounds, lost: Iterable[str], unconfirmed: Iterable[str], silent: Iterable[str]) -> None:
    """One combination, from step 1 on: the exact sum over who contributed, or an OperatorError at the step at which
    fewer than t were left."""
    plan, lost, unconfirmed, silent = rounds.plan, set(lost), set(unconfirmed), set(silent)
    survivors = [name for name in rounds.names if name not in lost]
    collector = rounds.collector(survivors)
    if len(survivors) < plan.threshold:
        refused(collector.close, "contributions", plan, len(survivors))
        return
    collector.close()
    if rounds.active:
        confirming = [name for name in survivors if name not in unconfirmed]
        rounds.confirm(collector, confirming)
        if len(confirming) < plan.threshold:
            refused(collector.settle, "confirmations", plan, len(confirming))
            return
        collector.settle()
    answering = [name for name in survivors if name not in silent]
    rounds.answer(collector, answering)
    if len(answering) < plan.threshold:
        refused(collector.finish, "unmask answers", plan, len(answering))
        return
    assert rounds.read(collector.finish()) == rounds.total_of(survivors)
    assert collector.faults == []


# up to twenty sites


@pytest.mark.parametrize("adversary", ADVERSARIES)
@pytest.mark.parametrize("count", [*range(6, 13), 16, 20])
def test_every_single_loss_and_random_ones_of_up_to_twenty_sites(count: int, adversary: Adversary) -> None:
    colluders = count % 4
    rounds = rounds_of(count, adversary, threshold_for(count, 0.5, colluders), colluders)
    random = np.random.default_rng(count)
    check(rounds, (), (), ())
    # one site lost at each step, each site once at one of them; all three steps for the first and the last one
    for k, name in enumerate(rounds.names):
        fates = range(3) if k in (0, count - 1) else (k % 3,)
        for fate in fates:
            check(rounds, *([name] if step == fate else [] for step in range(3)))
    spare = count - rounds.plan.threshold
    for _ in range(3):
        names = [str(name) for name in random.permutation(rounds.names)]
        lost = int(random.integers(0, spare + 1))
        late = int(random.integers(0, spare - lost + 2))  # at times one too many
        check(rounds, names[:lost], names[lost : lost + late], random.permutation(names[lost:])[:late].tolist())


@pytest.mark.parametrize("count", [7, 12, 20])
def test_as_many_losses_as_the_threshold_bears_and_one_more(count: int) -> None:
    """At each step alone, the first in the cohort and the last ones."""
    rounds = rounds_of(count, "active", threshold_for(count, 0.5, 1), 1)
    most = count - rounds.plan.threshold
    for names in (rounds.names, rounds.names[::-1]):
        for losses in (most, most + 1):
            for step in range(3):
                check(rounds, *(names[:losses] if step == fate else () for fate in range(3)))


# whatever Hypothesis finds


@st.composite
def aggregates(draw: st.DrawFn) -> Rounds:
    """Up to twelve sites with whatever threshold, colluders, mode, width and length; or 19 or 30, ready made."""
    count = draw(st.one_of(st.integers(2, 12), st.sampled_from([19, 30])))
    if count > 12:
        return rounds_of(count, "active", threshold_for(count, 0.5, 3), 3, 13, 5)
    threshold = draw(st.integers(threshold_for(count, 0.5), count))
    return rounds_of(
        count,
        draw(st.sampled_from(ADVERSARIES)),
        threshold,
        draw(st.integers(0, 2 * threshold - count - 1)),
        draw(st.sampled_from(WIDTHS)),
        draw(st.integers(1, 17)),
    )


@settings(max_examples=30, deadline=None)
@given(aggregates(), st.data())
def test_any_losses_of_up_to_thirty_sites(rounds: Rounds, data: st.DataObject) -> None:
    most = len(rounds.names) - rounds.plan.threshold + 1
    names = st.sets(st.sampled_from(rounds.names), max_size=most)
    check(rounds, *(data.draw(names, step) for step in ("lost", "unconfirmed", "silent")))


def edge_lengths(size: int) -> st.SearchStrategy[int]:
    """Of items of `size` bytes, around the pieces in which they are masked, packed and added, and their multiples."""
    return st.builds(lambda edge, off: max(0, edge // size + off), st.sampled_from([0, *EDGES]), st.integers(-9, 9))


@settings(max_examples=25, deadline=None)
@given(
    length=st.one_of(edge_lengths(2), edge_lengths(4)),
    counts=edge_lengths(8),
    bits=st.sampled_from(WIDTHS),
    lost=st.sampled_from(["", "a", "b", "c"]),
    silent=st.sampled_from(["", "a", "b", "c"]),
    seed=st.integers(0, 2**32),
)
def test_any_width_and_lengths_about_the_edges_of_a_chunk(
    length: int, counts: int, bits: Bits, lost: str, silent: str, seed: int
) -> None:
    plan = federation_of(3).plan(length=length, bits=bits, adversary="semi-honest")
    rounds = Rounds.of(replace(plan, counts=max(1, counts)), seed=seed)
    survivors = [name for name in "abc" if name != lost]
    if lost and silent and lost != silent:  # one answer too few
        check(rounds, lost, "", silent)
        return
    total = rounds.answer(rounds.unmasking(survivors), [name for name in survivors if name != silent]).finish()
    words = np.sum([rounds.vectors[name] for name in survivors], axis=0, dtype=np.uint64)
    assert total.words.dtype == plan.dtype
    assert np.array_equal(total.words.astype(np.uint64) % 2**bits, words % 2**bits)
    assert np.array_equal(total.counts, np.sum([rounds.counts[name] for name in survivors], axis=0, dtype=np.uint64))


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
    plan = federation_of(60).plan(length=4, bits=12, colluders=10)
    rounds = Rounds.of(replace(plan, counts=3))
    check(rounds, rounds.names[::9], rounds.names[1::11], rounds.names[2::8])


def test_hundreds_of_masked_rounds_are_exact_each() -> None:
    """Three sites, t = 2, both modes in turn, each site lost at each step in turn; the running sum of what was
    unmasked is the running sum of what was sent."""
    federation = federation_of(3)
    random = np.random.default_rng(1000)
    sent, found = np.zeros(4, np.int64), np.zeros(4, np.int64)
    for round in range(360):
        adversary = ADVERSARIES[round % 2]
        plan = federation.plan(length=4, round=round, adversary=adversary)
        vectors = {name: random.integers(0, 2**32, 4, dtype=np.uint32) for name in "abc"}
        lost, fate = "abc"[round % 3], round // 3 % 4  # before, unconfirmed, silent, or not at all
        total = federation.aggregate(  # which looks at the count of sites itself
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
