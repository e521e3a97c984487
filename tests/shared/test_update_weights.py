"""The weights of training steps: private, and capped."""

import math

import numpy as np
import pytest
from msgspec.structs import replace

from shared.errors import MisuseError, OperatorError
from shared.secagg.collector import Total
from shared.secagg.packing import Bits
from shared.update import TRAIN_COUNTS
from tests.shared.secagg.rounds import WIDTHS, Rounds, federation_of
from tests.shared.sums import codec, floats, sent, total_of, with_counts


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("weight", [0, -1, 41, 2**64, 2**70])
def test_a_site_does_not_write_a_weight_outside_its_range(bits: Bits, weight: int) -> None:
    with pytest.raises(MisuseError):
        codec(bits).write(floats(1, 1), weight, 40, scaled=False)


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("weight", [1, 2, 39, 40])
def test_weights_to_the_edges_are_written_and_read(bits: Bits, weight: int) -> None:
    side = codec(bits)
    found = side.read(sent(side, floats(1, 1), weight, 40), 1, 40)
    assert found.weight == weight
    step = side.quantizer.bound / side.quantizer.steps
    assert found.mean == pytest.approx([1, 1], abs=2 * step * 40 / weight + 1e-5)


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize(
    ("one", "other"),
    [((10, 30), (20, 20)), ((39, 1), (1, 39)), ((65_536, 1), (32_768, 32_769)), ((256, 255), (1, 510))],
)
def test_only_the_sum_of_the_weights_is_in_the_sum(one: tuple[int, int], other: tuple[int, int], bits: Bits) -> None:
    """10 + 30 and 20 + 20 are the same to the coordinator where the weighted updates are; so are weights whose parts,
    of whatever number of bits, would sum differently. Masked, opened and compared bit for bit."""
    side, zeros = codec(bits, parameters=4, cohort=2), np.zeros(4, np.float32)
    plan = replace(federation_of(2).plan(length=side.length, bits=bits), counts=TRAIN_COUNTS)
    totals = []
    for weights in (one, other):
        held = dict(zip("ab", (sent(side, zeros, weight, 100_000) for weight in weights), strict=True))
        rounds = Rounds.of(
            plan,
            counts={name: total.counts for name, total in held.items()},
            vectors={name: total.words for name, total in held.items()},
        )
        totals.append(rounds.finish(rounds.collector("ab"), "ab"))
    assert totals[0] == totals[1] == ([2, 0, 0, sum(one), 0, sum(one)], [0] * side.length)


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("weight", [0, 81, 255, 2**32 - 1, 2**63, 2**64 - 1])
def test_a_weight_over_the_public_maximum_is_found(bits: Bits, weight: int) -> None:
    side = codec(bits)
    rows = [sent(side, floats(1, 1), 40, 40) for _ in range(2)]
    total = total_of(rows, bits)
    assert side.read(total, 2, 40).weight == 80
    signed = weight - 2**64 * (weight >= 2**63)
    with pytest.raises(OperatorError, match=f"expected a weight from 1 to 80, got {signed}"):
        side.read(with_counts(total, weight=weight), 2, 40)


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("sites", [0, 1, 3, 2**62])
def test_a_sum_over_another_number_of_sites_is_found(bits: Bits, sites: int) -> None:
    side = codec(bits)
    rows = [sent(side, floats(1, 1), 10, 40) for _ in range(2)]
    with pytest.raises(OperatorError, match=f"2 sites in its first count, got {sites}"):
        side.read(with_counts(total_of(rows, bits), sites=sites), 2, 40)


@pytest.mark.parametrize("bits", WIDTHS)
def test_a_sum_that_is_still_masked_is_found(bits: Bits) -> None:
    side = codec(bits)
    random = np.random.default_rng(bits)
    words = random.integers(0, 2**bits, side.length).astype(side.quantizer.dtype)
    with pytest.raises(OperatorError, match="3 sites in its first count"):
        side.read(Total(random.integers(0, 2**64, TRAIN_COUNTS, np.uint64), words), 3, 40)


@pytest.mark.parametrize("bits", [32, 16, 10])
def test_two_hundred_sites_at_the_edges_do_not_wrap(bits: Bits) -> None:
    """Each at the largest weight and entry, scaled down, and every entry counted as clamped."""
    side = codec(bits, parameters=1, cohort=200, norm=1.0)
    row = with_counts(sent(side, floats(1), 100_000, 100_000, scaled=True), clamped=10**7)
    found = side.read(total_of([row] * 200, bits), 200, 100_000)
    assert (found.sites, found.scaled_down, found.clamped) == (200, 200, 200 * 10**7)
    assert found.weight == 200 * 100_000
    assert found.mean == pytest.approx([1], abs=side.quantizer.bound / side.quantizer.steps + 1e-5)


@pytest.mark.parametrize("bits", WIDTHS)
def test_a_masked_step_gives_the_mean(bits: Bits) -> None:
    """Masked, packed, summed, unmasked, read; c is lost."""
    side = codec(bits, parameters=50)
    plan = replace(federation_of(3).plan(length=side.length, bits=bits), counts=TRAIN_COUNTS)
    held = {
        name: sent(side, np.full(50, value, np.float32), weight, 40)
        for name, value, weight in (("a", 0.5, 10), ("b", -0.5, 30), ("c", 0.1, 1))
    }
    rounds = Rounds.of(
        plan,
        counts={name: total.counts for name, total in held.items()},
        vectors={name: total.words for name, total in held.items()},
    )
    found = side.read(rounds.answer(rounds.unmasking("ab"), "ab").finish(), 2, 40)
    assert (found.sites, found.weight) == (2, 40)
    step = side.quantizer.bound / side.quantizer.steps
    assert np.linalg.norm(found.mean + 0.25) <= 2 * step * math.sqrt(side.length) + 1e-4
