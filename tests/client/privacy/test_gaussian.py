"""The sampler against the exact distribution. Statistical tests fail by chance once in 10^7 (`RARE`, `SIGMAS`)."""

import bisect
import itertools
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chi2, norm

from client.privacy.gaussian import (
    BITS,
    FEW,
    MOST,
    OPEN,
    TABLE,
    Table,
    digits,
    discrete_gaussian,
    table,
)
from client.privacy.stream import SecureStream
from shared.errors import MisuseError
from tests.client.privacy.known import Known, words

RARE = 1e-7
SIGMAS = 5.4
COUNT = 200_000
#: One table, nearly two, two, three, four and five digits.
DEVIATIONS = [1.0, 3.7, 50.0, 128.0, 4096.0, 1e5, 6.5e6, 2.0**28]
VARIANCES = [Fraction(1), Fraction(3.7) ** 2, Fraction(128) ** 2, digits(6.5e6)[1][0]]


def bounds(made: Table) -> list[int]:
    """The table's bounds, 128 bits each."""
    return [(int(high) << 64) + int(low) for high, low in zip(made.high, made.low, strict=True)]


def exact(variance: Fraction, reach: int) -> list[Decimal]:
    """The true probabilities of 0 … reach, to 70 digits, each from an exponential of its own."""
    with localcontext(prec=80):
        doubled = 2 * Decimal(variance.numerator) / Decimal(variance.denominator)
        weights = [(-(x * x) / doubled).exp() for x in map(Decimal, range(2 * reach))]
        total = 2 * sum(weights) - 1
        return [weight / total for weight in weights[: reach + 1]]


@pytest.mark.parametrize("variance", VARIANCES)
def test_a_tables_probabilities_are_exact_to_128_bits(variance: Fraction) -> None:
    made = bounds(table(variance))
    reach = len(made) // 2
    shares = [after - before for before, after in itertools.pairwise([0, *made, 1 << BITS])]
    assert len(shares) == 2 * reach + 1 and min(shares) >= 0
    true = exact(variance, reach)
    with localcontext(prec=80):
        off = [abs(Decimal(share) / 2**BITS - true[abs(x - reach)]) for x, share in enumerate(shares)]
        beyond = 1 - 2 * sum(true) + true[0]
        assert max(off) < Decimal(2) ** -127
        assert (sum(off) + beyond) / 2 < Decimal(2) ** -116


@pytest.mark.parametrize("variance", VARIANCES)
def test_a_guide_and_a_search_agree_on_the_first_and_last_word_of_every_cell(variance: Fraction) -> None:
    made = table(variance)
    cells = np.arange(1 << 16, dtype=np.uint64) << np.uint64(48)
    ones = np.full(1 << 16, 2**64 - 1, np.uint64)
    first = made.invert(cells, np.zeros_like(cells))
    last = made.invert(cells | np.uint64(2**48 - 1), ones)
    assert np.array_equal(made.guide, np.where(first == last, first, OPEN))
    assert (np.diff(first) >= 0).all()
    assert -len(made.high) // 2 <= first[0] < -9 and last[-1] == len(made.high) // 2


@pytest.mark.parametrize("variance", VARIANCES)
def test_the_128th_bit_decides_at_every_bound(variance: Fraction) -> None:
    made = table(variance)
    all_bounds = bounds(made)
    reach = len(all_bounds) // 2
    at = [number for bound in all_bounds for number in (bound - 1, bound, bound + 1) if 0 <= number < 1 << BITS]
    high = np.array([number >> 64 for number in at], np.uint64)
    low = np.array([number % 2**64 for number in at], np.uint64)
    assert made.invert(high, low).tolist() == [bisect.bisect_right(all_bounds, number) - reach for number in at]


def test_a_draw_goes_through_all_three_kinds_of_words() -> None:
    """Below FEW every sample takes 16 + 48 bits, and 64 more in reserve, whatever it is."""
    made = table(Fraction(1))
    bound = bounds(made)[len(made.high) // 2]  # from here on 1, no longer 0
    for number, sample in ((bound - 1, 0), (bound, 1)):
        high, low = divmod(number, 2**64)
        # of the second word the upper 48 bits are used
        data = (high >> 48).to_bytes(2, "little") + words((high % 2**48 << 16) + 0xABCD, low)
        assert made.draw(1, Known(data)).tolist() == [sample]


@pytest.mark.parametrize("head", [0x0000, 0x4321, 0x7FFF, 0x8000, 0xFFFF])
def test_few_samples_take_as_many_words_whatever_they_are(head: int) -> None:
    stream = Known(head.to_bytes(2, "little") * 40 + bytes(1000))
    table(Fraction(3.7) ** 2).draw(40, stream)
    assert stream.left == 1000 - 40 * 16


@pytest.mark.parametrize("deviation", [*DEVIATIONS, np.nextafter(TABLE, 1e9), 5461.4, 233016.9, 9942054.0, 3e7])
def test_digits_have_the_whole_variance_and_spread_wide_enough(deviation: float) -> None:
    base, variances = digits(float(deviation))
    places = [base ** (2 * place) for place in reversed(range(len(variances)))]
    assert sum(v * place for v, place in zip(variances, places, strict=True)) == Fraction(float(deviation)) ** 2
    assert all(variance <= 1.5 * TABLE**2 for variance in variances)
    if len(variances) == 1:
        return
    error, inner = Decimal(0), variances[0]
    for lower in variances[1:]:
        whole = lower + base**2 * inner
        error += spread_error(inner * lower / whole)
        inner = whole
    assert inner == Fraction(float(deviation)) ** 2
    assert 2 * error < Decimal(2) ** -240


def spread_error(square: Fraction) -> Decimal:
    """How much Σ_k exp(−(k − c)² ÷ 2v²), v² = `square`, varies with c, relatively: c = 0 and ½ are the extremes."""
    with localcontext(prec=150):
        v2 = 2 * Decimal(square.numerator) / Decimal(square.denominator)
        on, between = (
            sum(((-((k - c) ** 2) / v2).exp() for k in range(-80, 81)), Decimal(0))
            for c in (Decimal(0), Decimal("0.5"))
        )
        return abs(on - between) / between


def test_two_digits_together_are_one_discrete_gaussian() -> None:
    """Rule 2, on the smallest deviation that has two digits: summed up, not by the theorem."""
    deviation = float(np.nextafter(TABLE, 1e9))
    base, (upper, lower) = digits(deviation)
    with localcontext(prec=120):
        ys, zs, xs = (2 * Decimal(v.numerator) / v.denominator for v in (upper, lower, Fraction(deviation) ** 2))

        def ratio(x: int) -> Decimal:
            pairs = ((-Decimal(y * y) / ys - Decimal((x - base * y) ** 2) / zs).exp() for y in range(-450, 451))
            return sum(pairs, Decimal(0)) / (-Decimal(x * x) / xs).exp()

        middle = ratio(0)
        assert all(abs(ratio(x) / middle - 1) < Decimal(2) ** -240 for x in (1, 2, 3, base, 100, 257, 500))


def weights(deviation: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Every integer within 9 deviations, and its probability, float64."""
    reach = int(9 * deviation) + 1
    x = np.arange(-reach, reach + 1)
    weight = np.exp(-((x / deviation) ** 2) / 2)
    return x, weight / weight.sum()


@pytest.mark.parametrize("deviation", [1.0, 3.7, 50.0, 128.5, 4096.0, 1e5])
def test_samples_follow_the_exact_distribution(deviation: float) -> None:
    """χ² over up to 200 classes of equal probability, and Kolmogorov and Smirnov's distance."""
    x, probability = weights(deviation)
    cumulated = probability.cumsum()
    made = discrete_gaussian(deviation, COUNT, SecureStream())
    cuts = np.unique(np.searchsorted(cumulated, np.arange(1, 200) / 200))
    cuts = cuts[COUNT * np.diff(cumulated[cuts], prepend=0.0) > 5]
    chance = np.diff(cumulated[cuts], prepend=0.0, append=1.0)
    seen = np.diff(np.searchsorted(np.sort(made), x[cuts], side="right"), prepend=0, append=COUNT)
    assert len(chance) >= 3
    assert chi2.sf(((seen - COUNT * chance) ** 2 / (COUNT * chance)).sum(), len(chance) - 1) > RARE
    distance = np.abs(np.searchsorted(np.sort(made), x, side="right") / COUNT - cumulated).max()
    assert distance < np.sqrt(np.log(2 / RARE) / (2 * COUNT))  # Massart 1990


@pytest.mark.parametrize("deviation", DEVIATIONS)
def test_mean_variance_and_kurtosis(deviation: float) -> None:
    scaled = discrete_gaussian(deviation, COUNT, SecureStream()) / deviation
    assert abs(scaled.mean()) < SIGMAS / np.sqrt(COUNT)
    assert abs((scaled**2).mean() - 1) < SIGMAS * np.sqrt(2 / COUNT) + 1e-6  # at s = 1 the variance is 1 − 2·10^-7
    assert abs((scaled**3).mean()) < SIGMAS * np.sqrt(15 / COUNT)
    assert abs((scaled**4).mean() - 3) < 1.2 * SIGMAS * np.sqrt(96 / COUNT) + 1e-4
    assert 3.5 < np.abs(scaled).max() < 8


@pytest.mark.parametrize("deviation", [128.5, 4096.0, 1e5, 6.5e6, 2.0**28])
def test_where_digits_meet_leaves_no_trace(deviation: float) -> None:
    """Modulo its base, and modulo powers of two, a wide sample is uniform."""
    made = discrete_gaussian(deviation, COUNT, SecureStream())
    base = digits(deviation)[0]
    for modulus in (2, 3, 16, base, base**2):
        if not 10 * modulus < deviation or modulus > 2000:
            continue
        seen = np.bincount(made % modulus, minlength=modulus)
        mean = COUNT / modulus
        assert chi2.sf(((seen - mean) ** 2 / mean).sum(), modulus - 1) > RARE


@pytest.mark.parametrize("deviation", [3.7, 1e5])
def test_the_tail_is_there(deviation: float) -> None:
    """Beyond four deviations lie 63 in a million."""
    seen = int((np.abs(discrete_gaussian(deviation, 1_000_000, SecureStream())) > 4 * deviation).sum())
    x, probability = weights(deviation)
    expected = 1e6 * probability[np.abs(x) > 4 * deviation].sum()
    assert abs(seen - expected) < 6.5 * np.sqrt(expected)


def test_neither_neighbours_nor_calls_nor_streams_tell_of_each_other() -> None:
    deviation, stream = 1e5, SecureStream()
    made = [discrete_gaussian(deviation, COUNT, stream) / deviation for _ in range(2)]
    made += [discrete_gaussian(deviation, COUNT, SecureStream()) / deviation for _ in range(2)]
    rolled = [np.roll(made[0], lag) for lag in (1, 2, 1 << 15, COUNT // 2)]
    for one, other in [*itertools.combinations(made, 2), *((made[0], shifted) for shifted in rolled)]:
        for left, right in ((one, other), (one**2 - 1, (other**2 - 1) / 2), (np.abs(one), other)):
            assert abs((left * right).mean()) < 1.1 * SIGMAS * np.sqrt((left**2).mean() * (right**2).mean() / COUNT)
    assert all(not np.array_equal(one[:8], other[:8]) for one, other in itertools.combinations(made, 2))


@pytest.mark.parametrize("count", [0, 1, 2, FEW, FEW + 1, (1 << 15) - 1, (1 << 15) + 1])
def test_any_count(count: int) -> None:
    made = discrete_gaussian(1e5, count, SecureStream())
    assert made.shape == (count,) and made.dtype == np.int64
    assert norm.sf(np.abs(made).max(initial=0) / 1e5) > 0.01 * RARE / (count + 1)


@pytest.mark.parametrize("deviation", [0.0, 0.99, -4.0, float("nan"), float("inf"), np.nextafter(MOST, 1e10)])
def test_a_deviation_it_was_not_made_for_is_refused(deviation: float) -> None:
    with pytest.raises(MisuseError, match="deviation"):
        discrete_gaussian(deviation, 1, SecureStream())
