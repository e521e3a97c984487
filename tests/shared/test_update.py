"""A training step: written by one site, summed as the coordinator sums, and read."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray

from shared.errors import InputError, MisuseError, OperatorError, SiteError
from shared.quantize import Quantizer
from shared.rotation import SPREAD, Rotation
from shared.secagg.collector import Total
from shared.secagg.packing import Bits
from shared.study import MINIMAL, Privacy, parse_study
from shared.update import SPREAD_UNITS, TRAIN_COUNTS, Codec
from tests.shared.secagg.rounds import WIDTHS
from tests.shared.sums import SEED, codec, floats, sent, total_of, with_counts, words_of

NARROW = WIDTHS[1:]
STUDY = parse_study(MINIMAL)


@pytest.mark.parametrize("bits", WIDTHS)
def test_training_vectors_sum_to_the_weighted_mean(bits: Bits) -> None:
    """Sites of 10 and 30 images: (1, -2) and (3, 2) weigh 1 : 3."""
    side = codec(bits)
    one = sent(side, floats(1, -2), 10, 40)
    two = sent(side, floats(3, 2), 30, 40, scaled=True)
    found = side.read(total_of([one, two], bits), 2, 40)
    assert (found.sites, found.scaled_down, found.clamped, found.weight) == (2, 1, 0, 40)
    assert found.mean.dtype == np.float32
    assert found.mean.shape == (2,)
    # each entry is off by less than a step a site, before and after a rotation of the same norm
    step = side.quantizer.bound / side.quantizer.steps
    assert np.linalg.norm(found.mean - floats(2.5, 1)) <= 2 * step * math.sqrt(side.length) + 1e-4


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_sites_and_weights_give_their_mean(data: st.DataObject) -> None:
    bits = data.draw(st.sampled_from(WIDTHS))
    parameters, sites, most = data.draw(st.integers(1, 70)), data.draw(st.integers(1, 6)), 1000
    side = codec(bits, parameters=parameters, cohort=max(2, sites), seed=data.draw(st.binary(min_size=32, max_size=32)))
    weights = data.draw(st.lists(st.integers(1, most), min_size=sites, max_size=sites))
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    updates = [random.normal(size=parameters) for _ in range(sites)]
    updates = [update * min(1, 3.9 / float(np.linalg.norm(update))) for update in updates]
    rows = [
        sent(side, update.astype(np.float32), weight, most) for update, weight in zip(updates, weights, strict=True)
    ]
    found = side.read(total_of(rows, bits), sites, most)
    assert (found.sites, found.scaled_down, found.weight) == (sites, 0, sum(weights))
    expected = np.average(updates, axis=0, weights=weights)
    step = side.quantizer.bound / side.quantizer.steps
    if found.clamped == 0:
        allowed = sites * step * math.sqrt(side.length) * most / sum(weights)
        assert np.linalg.norm(found.mean - expected) <= allowed + 1e-4


@pytest.mark.parametrize("bits", WIDTHS)
def test_six_counts_stand_beside_the_vector(bits: Bits) -> None:
    """Sites, scaled down, clamped, weight, spread, work: whole numbers of 64 bits whatever the bits of a word."""
    side = codec(bits)
    plain = side.write(floats(1, -2), 30, 40, scaled=True, steps=7)
    assert plain.counts.dtype == np.dtype("<u8")
    spread = int(5 / 16 * 30 * (SPREAD_UNITS // 40))  # |u|² = 5 of a norm² of 16
    assert plain.counts.tolist() == [1, 1, 0, 30, spread, 210]
    assert len(plain.counts) == TRAIN_COUNTS
    assert words_of(plain, side.length, bits).dtype.name == ("uint32" if bits == 32 else "uint16")


def test_the_mean_square_and_the_mean_steps_are_read_back() -> None:
    """Sites of 10 and 30 images, of |u|² = 4 and 9, and of 2 and 6 steps."""
    side = codec(32)
    one = sent(side, floats(0, 2), 10, 40)
    two = Total(side.write(floats(3, 0), 30, 40, scaled=False, steps=6).counts, sent(side, floats(3, 0), 30, 40).words)
    found = side.read(total_of([one, two]), 2, 40)
    assert found.square == pytest.approx((10 * 4 + 30 * 9) / 40, rel=1e-9)
    assert found.steps == (10 * 1 + 30 * 6) / 40


def test_with_privacy_no_lengths_are_counted() -> None:
    private = replace(STUDY, privacy=Privacy(mode="local", epsilon=8.0, delta=1e-5, clip=1.0, sampling_rate=0.5))
    side = Codec.of(private, cohort=3, parameters=2, seed=SEED)
    total = sent(side, floats(1, -2), 10, 40)
    assert total.counts[4] == 0 and side.read(total, 1, 40).square is None


def test_the_second_of_two_vectors_has_no_part_in_the_spread() -> None:
    side = Codec(norm=4.0, bits=32, cohort=3, parameters=4, seed=SEED, vectors=2)
    found = side.read(sent(side, floats(1, 2, -4, 3), 10, 40), 1, 40)
    assert found.square == pytest.approx(5, rel=1e-9)
    np.testing.assert_allclose(found.mean, [1, 2, -4, 3], atol=1e-6)


@pytest.mark.parametrize(("name", "value"), [("spread", 1 << 60), ("spread", 2**64 - 1), ("work", 2**64 - 1)])
def test_a_spread_or_work_that_no_hospitals_have_is_found(name: str, value: int) -> None:
    side = codec(32)
    with pytest.raises(OperatorError, match="a spread from 0"):
        side.read(with_counts(sent(side, floats(1, 1), 10, 40), **{name: value}), 1, 40)


def test_a_whole_vector_by_hand() -> None:
    """Bound 1, two sites: a step is 1 / (2^30 - 1); at weight 1 the bounds are whole steps."""
    total = sent(codec(32, cohort=2, norm=1.0), floats(1, -1), 5, 5)
    most = (2**31 - 1) // 2
    assert total.counts.tolist() == [1, 0, 0, 5, 5 * (SPREAD_UNITS // 5), 5]
    assert total.words.tolist() == [most, 2**32 - most]


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("parameters", [1, 2, 63, 64, 65, 5000])
def test_the_length_is_the_updates_rotated_or_not(bits: Bits, parameters: int) -> None:
    side = codec(bits, parameters=parameters)
    assert side.length == (parameters if bits == 32 else Rotation(SEED, parameters).padded)
    assert (side.rotation is None) == (bits == 32)
    found = side.read(sent(side, np.zeros(parameters, np.float32), 1, 1), 1, 1)
    assert found.mean.shape == (parameters,)


@pytest.mark.parametrize("bits", WIDTHS)
def test_the_pieces_in_which_it_is_written_change_no_word(bits: Bits) -> None:
    """Cut at the first word, at the last, within, and into single words."""
    side = codec(bits, parameters=20)
    plain = side.write(np.linspace(-0.5, 0.5, 20, dtype=np.float32), 3, 7, scaled=True)
    whole = words_of(plain, side.length, bits)
    for cuts in ([1], [side.length - 1], [3, 11], range(1, side.length)):
        assert np.array_equal(words_of(plain, side.length, bits, cuts), whole)


@pytest.mark.parametrize(("bits", "most"), [(10, 511), (12, 2047), (16, 32767)])
def test_too_many_hospitals_for_the_bits_are_an_error_that_says_what_to_do(bits: Bits, most: int) -> None:
    """So many that none of them had a step left; one fewer is fine."""
    assert codec(bits, cohort=most).quantizer.steps == 1
    side = codec(bits, cohort=most + 1)
    with pytest.raises(InputError, match=f"aggregation.bits: expected enough for {most + 1} hospitals") as caught:
        side.write(floats(1, 1), 1, 1, scaled=False)
    assert "Raise it." in str(caught.value)


def test_the_bound_is_the_norm_or_the_spread_of_it() -> None:
    assert codec(32, parameters=4096).quantizer == Quantizer(bound=4.0, sites=3, bits=32)
    assert codec(12, parameters=4096).quantizer == Quantizer(bound=SPREAD * 4.0 / 64, sites=3, bits=12)


def test_each_round_rotates_by_its_own_seed() -> None:
    update = np.zeros(64, np.float32)
    update[0] = 4
    one, other = (sent(codec(16, parameters=64, seed=seed), update, 1, 1).words for seed in (bytes(32), SEED))
    assert not np.array_equal(one >> 15, other >> 15)  # the signs


def concentrated(parameters: int, norm: float) -> NDArray[np.float32]:
    """An update of that norm which the rotation gathers in one entry: chosen by the seed, as nobody can in time."""
    rotation = Rotation(SEED, parameters)
    entry = np.zeros(rotation.padded, np.float32)
    entry[3] = norm
    return rotation.inverse(entry)


@pytest.mark.parametrize("bits", NARROW)
def test_clamped_entries_are_counted_and_what_is_left_is_the_bound(bits: Bits) -> None:
    """64 entries: a bound of 6.55 × 4 / 8 = 3.275, and one entry of 4."""
    side = codec(bits, parameters=64)
    flat = np.full(64, 0.25, np.float32)
    rows = [sent(side, update, 5, 5) for update in (concentrated(64, 4.0), concentrated(64, 4.0), flat)]
    assert [row.counts.tolist()[2] for row in rows] == [1, 1, 0]
    found = side.read(total_of(rows, bits), 3, 5)
    assert (found.clamped, found.sites, found.weight) == (2, 3, 15)
    step = side.quantizer.bound / side.quantizer.steps
    expected = (2 * concentrated(64, side.quantizer.bound) + flat) / 3
    assert np.linalg.norm(found.mean - expected) <= 8 * step + 1e-4


def test_an_entry_at_the_bound_is_not_clamped() -> None:
    side = codec(16, parameters=64)
    total = sent(side, concentrated(64, side.quantizer.bound * (1 - 1e-5)), 1, 1)
    assert total.counts[:4].tolist() == [1, 0, 0, 1]


def test_an_entry_over_the_norm_is_an_error_where_nothing_is_rotated() -> None:
    plain = codec(32).write(floats(0, 4.1), 1, 1, scaled=False)
    with pytest.raises(SiteError, match="update, entries 0 to 1: expected finite numbers in ±4"):
        words_of(plain, 2)


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_never_sent(bits: Bits, value: float) -> None:
    with pytest.raises(SiteError, match="finite"):
        sent(codec(bits), floats(0, value), 1, 1)


@pytest.mark.parametrize("bits", [32, 12])
@pytest.mark.parametrize(
    "update", [np.zeros(2), np.zeros((1, 2), np.float32), np.zeros(2, np.float16), np.zeros(2, np.int32)]
)
def test_an_update_of_another_type_or_shape_is_a_bug(bits: Bits, update: Any) -> None:
    with pytest.raises(MisuseError):
        codec(bits).write(update, 1, 1, scaled=False)


def test_an_update_of_another_length_is_a_bug_where_it_is_rotated() -> None:
    with pytest.raises(MisuseError, match=r"float32 \[2\]"):
        codec(12).write(floats(1, 2, 3), 1, 1, scaled=False)
