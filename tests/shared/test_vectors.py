"""What is masked of each step: written by one site, summed as the coordinator sums, and read."""

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray

from shared.errors import InputError, MisuseError, OperatorError, SiteError
from shared.evaluated import evaluated_length
from shared.messages import AnyTask, EvaluateTask, SurveyTask, TrainTask, payload_digest
from shared.metrics import BinaryCounts
from shared.quantize import Quantizer
from shared.reasons import Reason
from shared.rotation import SPREAD, Rotation
from shared.secagg.collector import Total
from shared.secagg.masks import Words
from shared.secagg.member import Plain
from shared.secagg.packing import Bits
from shared.secagg.plan import Terms
from shared.study import MINIMAL, Aggregation, Privacy, Study, parse_study
from shared.vectors import (
    IMAGE_UNITS,
    INTENSITY_BINS,
    MOST,
    SPLITS,
    SPREAD_UNITS,
    SURVEY_COUNTS,
    TRAIN_COUNTS,
    Codec,
    Survey,
    count_plain,
    encode_counts,
    read_counts,
    read_survey,
    survey_plain,
    terms,
)
from shared.wire import pack, unpack
from tests.shared.secagg.rounds import WIDTHS, Rounds, federation_of

NARROW = WIDTHS[1:]
SEED = bytes(range(32))


STUDY = parse_study(MINIMAL.replace("min_sites = 2", "min_sites = 5"))
#: of an evaluation, the sites' own count among them
EVALUATE_COUNTS = 1 + evaluated_length(STUDY)


def floats(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def codec(bits: Bits = 32, *, parameters: int = 2, cohort: int = 3, norm: float = 4.0, seed: bytes = SEED) -> Codec:
    return Codec(norm=norm, bits=bits, cohort=cohort, parameters=parameters, seed=seed)


def words_of(plain: Plain, length: int, bits: int = 32, cuts: Iterable[int] = ()) -> Words:
    """The vector, written in the pieces between `cuts`."""
    words: Words = np.zeros(length, "<u4" if bits == 32 else "<u2")
    for start, stop in pairwise([0, *cuts, length]):
        plain.fill(start, words[start:stop])
    return words


def sent(side: Codec, update: NDArray[np.float32], weight: int, most: int, *, scaled: bool = False) -> Total:
    """One site's training step, unmasked: what the sum over this site alone is."""
    plain = side.write(update, weight, most, scaled=scaled)
    return Total(plain.counts, words_of(plain, side.length, side.bits))


def counted(plain: Plain) -> Total:
    """One site's counting step, unmasked."""
    return Total(plain.counts, words_of(plain, 0))


def total_of(parts: Iterable[Total], bits: int = 32) -> Total:
    """The sum as a Collector hands it over: of narrow words, the bits above are noise."""
    rows = list(parts)
    words = rows[0].words.copy()
    for row in rows[1:]:
        words += row.words
    if bits < 16:
        words &= np.uint16((1 << bits) - 1)
        words |= np.random.default_rng(1).integers(0, 1 << 16, words.size, np.uint16) << np.uint16(bits)
    return Total(np.sum([row.counts for row in rows], axis=0, dtype=np.uint64), words)


def with_counts(total: Total, **change: int) -> Total:
    """`total` with other counts, as sites that lie about them would have it."""
    names = ("sites", "scaled", "clamped", "weight", "spread", "work")
    counts = dict(zip(names, total.counts.tolist(), strict=True)) | change
    return total._replace(counts=np.array(list(counts.values()), "<u8"))


# training


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
    with pytest.raises(InputError, match=r"aggregation\.bits"):
        terms_of(cohort=most + 1, bits=bits)


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


# weights: private, and capped


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


# counts


def test_counts_of_many_sites_at_the_edges_sum_exactly() -> None:
    """200 sites of 2^47 - 1 each, or minus that; even 65,536 would not wrap."""
    values = [0, 1, 2**32 - 1, 2**32, MOST - 1, 1 - MOST, -1]
    total = total_of([counted(count_plain(values))] * 200)
    assert read_counts(total, 200) == [200 * value for value in values]
    assert 65_536 * (MOST - 1) < 2**63


@given(st.lists(st.lists(st.integers(1 - MOST, MOST - 1), min_size=3, max_size=3), min_size=1, max_size=8))
def test_any_counts_sum_as_integers(rows: list[list[int]]) -> None:
    total = total_of([counted(count_plain(row)) for row in rows])
    assert read_counts(total, len(rows)) == [sum(column) for column in zip(*rows, strict=True)]


def test_a_counting_step_is_its_counts_after_a_one_and_no_vector() -> None:
    for values in ([], [7], [0, MOST - 1, 3]):
        plain = count_plain(values)
        assert plain.counts.dtype == np.dtype("<u8")
        assert plain.counts.tolist() == [1, *values]
        plain.fill(0, np.zeros(0, np.uint32))


@pytest.mark.parametrize("value", [-MOST, MOST, 2**64, 2**70])
def test_a_count_out_of_range_is_a_bug(value: int) -> None:
    """And no message tells the number."""
    for call in (encode_counts, count_plain):
        with pytest.raises(MisuseError, match=r"expected a whole number of magnitude below 2\^47, got one beyond"):
            call([5, value])


@pytest.mark.parametrize("survivors", [0, 2, 200])
def test_counts_of_another_number_of_sites_are_found(survivors: int) -> None:
    with pytest.raises(OperatorError, match=f"{survivors} sites in its first count, got 1"):
        read_counts(counted(count_plain([5])), survivors)


def test_surveys_sum_by_place() -> None:
    one = Survey((5, 2, 3), (4, 1), {Reason.TRUNCATED: 2}, 1, 60, (7, *[0] * 62, 9))
    two = Survey((1, 0, 0), (0, 1), {Reason.CHANGED: 7}, 0, 4, (1, 2, *[0] * 61, 3))
    found = read_survey(total_of([counted(survey_plain(survey)) for survey in (one, two)]), 2, labels=2)
    assert (found.splits, found.labels, found.hidden_labels, found.hidden_bins) == ((6, 2, 3), (4, 2), 1, 64)
    assert found.intensities == (8, 2, *[0] * 61, 12)
    assert {r: n for r, n in found.skipped.items() if n} == {Reason.TRUNCATED: 2, Reason.CHANGED: 7}


def test_no_study_has_images_enough_to_overflow_a_bin() -> None:
    """A thousand times the images that a hospital may have by default, all of one brightness."""
    assert IMAGE_UNITS * 100_000 * 1000 < MOST


def test_a_survey_of_another_number_of_sites_is_found() -> None:
    with pytest.raises(OperatorError, match="2 sites in its first count, got 1"):
        read_survey(counted(survey_plain(Survey((1, 1, 1), (1, 0), {}))), 2, labels=2)


def test_evaluation_and_survey_have_the_counts_announced() -> None:
    survey = survey_plain(Survey((1, 2, 3), (4, 5), dict.fromkeys(Reason, 9), 6, 7, (8,) * INTENSITY_BINS))
    assert survey.counts.tolist() == [1, 1, 2, 3, 4, 5, 6, 7, *[8] * 64, *[9] * len(Reason)]
    assert len(survey.counts) == SURVEY_COUNTS + 2 == 1 + len(SPLITS) + 2 + 2 + 64 + len(Reason)
    assert EVALUATE_COUNTS == 1 + BinaryCounts.LENGTH + 2 > 2 * 512  # no subgroups; the votes


# what a plan must say


TRAIN = TrainTask(weights=memoryview(b""), class_weights=(1, 1))
EVALUATE = EvaluateTask(weights=memoryview(b""), split=1)
PAYLOAD = payload_digest(b"task")


def study_with(**aggregation: Any) -> Study:
    return replace(STUDY, aggregation=Aggregation(**aggregation))


def terms_of(task: AnyTask = TRAIN, *, cohort: int = 5, parameters: int = 7, **aggregation: Any) -> Terms:
    return terms(study_with(**aggregation), task, PAYLOAD, cohort=cohort, parameters=parameters)


def test_the_terms_of_a_training_step() -> None:
    side = Codec(norm=10.0, bits=32, cohort=5, parameters=7, seed=PAYLOAD)
    assert terms_of() == Terms(
        step="train",
        payload=PAYLOAD,
        threshold=4,  # more than (5 + 1) / 2
        colluders=1,
        adversary="active",
        quantizer=pack(Quantizer(bound=10.0, sites=5, bits=32)),
        counts=6,
        length=7,
        bits=32,
    )
    assert side.length == 7


@pytest.mark.parametrize(
    ("task", "step", "counts"), [(EVALUATE, "evaluate", EVALUATE_COUNTS), (SurveyTask(), "survey", SURVEY_COUNTS + 2)]
)
@pytest.mark.parametrize("bits", [32, 12])
def test_the_terms_of_a_counting_step_have_no_vector_whatever_the_studys_bits(
    task: AnyTask, step: str, counts: int, bits: int
) -> None:
    found = terms_of(task, bits=bits)
    assert (found.step, found.counts, found.length, found.bits, found.quantizer) == (step, counts, 0, 32, b"")
    assert (found.threshold, found.colluders, found.adversary, found.payload) == (4, 1, "active", PAYLOAD)


@pytest.mark.parametrize("bits", WIDTHS)
def test_the_terms_hold_the_codecs_quantizer_and_length(bits: Bits) -> None:
    study = study_with(bits=bits, update_norm=2.5)
    found = terms(study, TRAIN, PAYLOAD, cohort=5, parameters=5000)
    side = Codec.of(study, cohort=5, parameters=5000, seed=PAYLOAD)
    assert (found.bits, found.counts, found.length) == (bits, TRAIN_COUNTS, side.length)
    assert unpack(Quantizer, found.quantizer) == side.quantizer
    assert (side.norm, side.bits, side.cohort, side.seed) == (2.5, bits, 5, PAYLOAD)


@pytest.mark.parametrize(
    ("aggregation", "cohort", "expected"),
    [
        ({}, 5, (4, 1, "active")),
        ({"colluders": 0}, 5, (3, 0, "active")),
        ({"colluders": 0, "threshold": 1}, 5, (5, 0, "active")),
        ({"colluders": 3}, 20, (12, 3, "active")),
        ({"adversary": "semi-honest"}, 200, (120, 1, "semi-honest")),
    ],
)
def test_the_terms_follow_the_study(aggregation: dict[str, Any], cohort: int, expected: tuple[object, ...]) -> None:
    found = terms_of(cohort=cohort, **aggregation)
    assert (found.threshold, found.colluders, found.adversary) == expected


def test_two_of_the_same_study_and_task_derive_the_same_terms_and_another_payload_others() -> None:
    study = study_with(bits=12)
    one, again, other = (
        terms(study, TRAIN, payload, cohort=5, parameters=64) for payload in (PAYLOAD, PAYLOAD, bytes(32))
    )
    assert one == again
    assert replace(other, payload=PAYLOAD) == one  # the rotation's seed is the payload, and not said twice


def test_every_width_of_a_study_can_be_planned() -> None:
    assert set(get_args(Aggregation.__annotations__["bits"])) == set(WIDTHS)
