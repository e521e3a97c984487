"""Each claim of shared/mechanism.py's docstring, by number."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from opacus.accountants.analysis.rdp import compute_rdp
from scipy.special import logsumexp
from scipy.stats import norm

from shared.errors import PeerError
from shared.mechanism import ARITHMETIC, ROUNDING_BITS, SMOOTH, TAIL, Mechanism
from shared.wire import pack, unpack

Float64 = NDArray[np.float64]
TINY = Decimal(2) ** -200
ORDERS = [2, 3, 4, 8, 16, 32, 64]


def mechanism(**given: float) -> Mechanism:
    fields = {"clip": 1.0, "noise_multiplier": 1.0, "entries": 100, "honest": 1, "sites": 1} | given
    counts = {name: int(fields[name]) for name in ("entries", "honest", "sites")}
    return Mechanism(clip=fields["clip"], noise_multiplier=fields["noise_multiplier"], **counts)


@st.composite
def mechanisms(draw: st.DrawFn) -> Mechanism:
    sites = draw(st.integers(1, 300))
    try:
        return mechanism(
            clip=draw(st.floats(1e-6, 1e6)),
            noise_multiplier=draw(st.floats(1e-3, 100)),
            entries=draw(st.integers(1, 2**28)),
            honest=draw(st.integers(1, sites)),
            sites=sites,
        )
    except ValueError:
        assume(False)
        raise


def integers(total: Float64, made: Mechanism) -> Float64:
    """What client/privacy/release.py adds the noise to."""
    return np.clip(np.rint(total / made.grid), -made.limit, made.limit)


# Rule 1: rounding


@settings(deadline=None)
@given(mechanisms())
def test_the_grid_is_a_power_of_two_and_rounding_costs_a_thousandth(made: Mechanism) -> None:
    assert math.frexp(made.grid)[0] == 0.5
    finest = made.clip / (2**ROUNDING_BITS * math.sqrt(made.entries))
    assert finest / 2 * (1 - 1e-12) < made.grid <= finest * (1 + 1e-12)
    steps = made.clip / made.grid
    assert steps * (1 + ARITHMETIC) < made.sensitivity <= steps * (1 + ARITHMETIC + 2.0**-ROUNDING_BITS) * (1 + 1e-12)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 64), st.floats(0.01, 100), st.sampled_from([0.0, 0.5, 1e4, 1e9]))
def test_no_patient_moves_the_integers_by_more(seed: int, entries: int, clip: float, spread: float) -> None:
    """Sums drawn anywhere, on the edge between two integers, and about the limit; gradients wide and sparse."""
    made, random = mechanism(clip=clip, entries=entries, noise_multiplier=0.01), np.random.default_rng(seed)
    on_edges = (random.integers(-9, 9, entries) + 0.5 - 1e-9) * made.grid
    at_limit = random.choice([-1.0, 1.0], entries) * made.limit * made.grid
    for total in np.stack([random.normal(0, 1, entries) * spread, on_edges, at_limit + on_edges]):
        for direction in (random.normal(0, 1, entries), random.exponential(1, entries) ** 8, np.ones(entries)):
            gradient: Float64 = direction * clip / np.linalg.norm(direction) * random.choice([1e-6, 0.1, 1 - 1e-9])
            moved = np.linalg.norm(integers(total + gradient, made) - integers(total, made))
            assert moved <= clip / made.grid + math.sqrt(entries) < made.sensitivity


@pytest.mark.parametrize("entries", [1, 4, 100, 10_000])
def test_the_bound_is_nearly_reached_so_scaling_to_the_clip_would_not_do(entries: int) -> None:
    made = mechanism(clip=1.0001, entries=entries)
    gradient = np.full(entries, made.clip / math.sqrt(entries))
    total = (0.5 - gradient / made.grid % 1 / 2) * made.grid  # is rounded down, and total + gradient up
    moved = np.linalg.norm(integers(total + gradient, made) - integers(total, made))
    assert made.clip / made.grid < moved <= made.sensitivity
    assert moved > (1 - 2.0**-9) * made.sensitivity
    tiny = np.full(entries, 2e-9 * made.grid)  # a patient of hardly any gradient moves every entry
    edge = np.full(entries, (0.5 - 1e-9) * made.grid)
    assert np.linalg.norm(integers(edge + tiny, made) - integers(edge, made)) == math.sqrt(entries)


# Rule 2: arithmetic


@settings(deadline=None)
@given(mechanisms())
def test_what_arithmetic_may_move_is_paid_for(made: Mechanism) -> None:
    assert made.sensitivity >= ((1 + ARITHMETIC) * made.clip / made.grid + math.sqrt(made.entries)) * (1 - 1e-15)


# Rule 3: shares


def weights(variance: int, reach: int) -> NDArray[np.object_]:
    """exp(−x² ÷ 2 variance) for x = −reach … reach, Decimal."""
    return np.array([(-Decimal(x * x) / (2 * variance)).exp() for x in range(-reach, reach + 1)], object)


def worst_ratio(one: NDArray[np.object_], other: NDArray[np.object_]) -> Decimal:
    """Largest relative difference between the probabilities of `one` and `other` [2·reach + 1], about the middle."""
    one, other = (a[len(a) // 2 - 40 : len(a) // 2 + 41] / a.sum() for a in (one, other))
    return Decimal(max(abs(one / other - 1)))


@pytest.mark.parametrize("shares", [2, 3, 6])
def test_shares_sum_to_a_discrete_gaussian(shares: int) -> None:
    """Convolved with 110 digits, for the least variance that a share can have, SMOOTH²."""
    with localcontext(prec=110):
        one = weights(int(SMOOTH) ** 2, 130)
        summed = one
        for _ in range(shares - 1):
            summed = np.convolve(summed, one)
        assert worst_ratio(summed, weights(shares * int(SMOOTH) ** 2, 350)) < TINY
        narrow = weights(1, 60)  # of deviation 1 it would not be one
        assert worst_ratio(np.convolve(narrow, narrow), weights(2, 120)) > Decimal(2) ** -20


def test_any_number_of_shares_stays_within_the_factor() -> None:
    """Share j + 1 joins j others at v² = s² j ÷ (j + 1) ≥ s² ÷ 2, an error of 4 exp(−2π²v²): for 2^20 of them."""
    joined = sum(4 * math.exp(-2 * math.pi**2 * SMOOTH**2 * j / (j + 1)) for j in range(1, 1000))
    assert joined + 2**20 * 4 * math.exp(-2 * math.pi**2 * SMOOTH**2 * 0.999) < 2.0**-200


@pytest.mark.parametrize("variance", [17, 24, 144])
def test_a_discrete_gaussian_is_a_continuous_one_rounded_at_random(variance: int) -> None:
    """P(z) = ∫ N(y; 0, variance − SMOOTH²) · exp(−(z − y)² ÷ 2 SMOOTH²) ÷ Σ_m exp(−(m − y)² ÷ 2 SMOOTH²) dy, by the
    trapezoidal rule, whose error on such an integrand is below exp(−2π² width² ÷ step²)."""
    per_unit, reach = 4, 60 + 2 * variance
    with localcontext(prec=110):
        # y = j ÷ per_unit; the sum over m has one value for every j mod per_unit
        sums = [
            sum(((-((m - Decimal(j) / per_unit) ** 2) / 32).exp() for m in range(-130, 131)), Decimal(0))
            for j in range(per_unit)
        ]
        ys = [Decimal(j) / per_unit for j in range(-reach * per_unit, reach * per_unit + 1)]
        spread = 2 * (variance - int(SMOOTH) ** 2)
        density = [(-(y * y) / spread).exp() / sums[j % per_unit] for j, y in enumerate(ys)]
        kept = [(y, weight) for y, weight in zip(ys, density, strict=True) if weight > Decimal("1e-90")]

        def probability(z: int) -> Decimal:
            return sum((weight * (-((z - y) ** 2) / 32).exp() for y, weight in kept), Decimal(0))

        middle = probability(0)
        for z in (1, 2, 5, 13):
            assert abs(probability(z) / middle / (-Decimal(z * z) / (2 * variance)).exp() - 1) < TINY


@settings(deadline=None)
@given(mechanisms())
def test_the_honest_shares_alone_are_the_noise_that_is_promised(made: Mechanism) -> None:
    promised = (made.noise_multiplier * made.sensitivity) ** 2
    assert made.honest * made.deviation**2 - SMOOTH**2 >= promised * (1 - 1e-14)
    assert made.deviation >= SMOOTH
    # and hardly more of it than promised, where the noise is not tiny
    if made.noise_multiplier > 0.1:
        assert made.honest * made.deviation**2 <= promised * 1.01 + made.honest * SMOOTH**2


def test_one_share_fewer_than_promised_is_not_enough() -> None:
    """Why the survivors must be t at least: of t − c − 1 shares nothing is promised."""
    made = mechanism(honest=5, sites=9)
    assert 4 * made.deviation**2 < (made.noise_multiplier * made.sensitivity) ** 2


def renyi(rate: float, shift: int, deviation: float, order: int) -> float:
    """The larger of both Rényi divergences between discrete noise and the noise with a patient in it, drawn at `rate`,
    who moves it by `shift`: summed over Z."""
    x = np.arange(-66 * shift - int(12 * deviation), 66 * shift + int(12 * deviation))
    without = -((x / deviation) ** 2) / 2
    moved = -(((x - shift) / deviation) ** 2) / 2
    with_one = np.logaddexp(np.log1p(-rate), moved - without + np.log(rate)) + without if rate < 1 else moved
    total = logsumexp(without)
    return float(
        max(
            (logsumexp(order * a + (1 - order) * b) - total) / (order - 1)
            for a, b in ((with_one, without), (without, with_one))
        )
    )


@pytest.mark.parametrize(("sigma", "honest"), [(0.7, 3), (4.0, 1)])
@pytest.mark.parametrize("rate", [0.01, 0.2, 1.0])
def test_it_spends_no_more_than_the_accountant_charges(sigma: float, rate: float, honest: int) -> None:
    """At every order, for the patient who moves the integers the most, in one entry."""
    made = mechanism(noise_multiplier=sigma, entries=1, honest=honest, sites=honest)
    charged = compute_rdp(q=rate, noise_multiplier=sigma, steps=1, orders=ORDERS)
    for order, most in zip(ORDERS, charged, strict=True):
        spent = renyi(rate, int(made.sensitivity), math.sqrt(honest) * made.deviation, order)
        assert 0.9 * most < spent <= most + 1e-9
    fewer = renyi(rate, int(made.sensitivity), math.sqrt(honest) * made.deviation / 1.1, 2)
    assert fewer > charged[0]


@pytest.mark.parametrize("shift", [4, 30])
def test_without_its_margins_it_would_spend_exactly_that(shift: int) -> None:
    """The discrete and the continuous mechanism are one at whole orders, as long as shifts are whole."""
    charged = compute_rdp(q=0.1, noise_multiplier=1.0, steps=1, orders=ORDERS)
    assert [renyi(0.1, shift, float(shift), order) for order in ORDERS] == pytest.approx(list(charged), abs=1e-9)


# Rule 4: wrapping


@settings(deadline=None)
@given(mechanisms())
def test_every_site_at_its_limit_leaves_room_for_the_noise_of_all(made: Mechanism) -> None:
    assert made.sites * made.limit + TAIL * math.sqrt(made.sites) * made.deviation <= 2**31 - 1
    assert made.limit * made.grid >= made.clip
    assert 2 * norm.sf(TAIL) < 2e-15


@settings(deadline=None)
@given(mechanisms(), st.integers(0, 2**32 - 1))
def test_whole_sums_of_either_sign_survive_the_words(made: Mechanism, seed: int) -> None:
    random = np.random.default_rng(seed)
    shares = random.integers(-made.limit, made.limit, (made.sites, 6), endpoint=True)
    shares[:, :2] = [-made.limit, made.limit]
    words = np.zeros(6, np.uint32)
    for share in shares:
        words += share.astype(np.uint32)
    assert np.array_equal(made.decode(words), shares.sum(axis=0) * made.grid)


def test_a_wrapped_sum_is_a_function_of_the_sum() -> None:
    """Post-processing: what is decoded depends on the whole sum alone, wrapped or not."""
    made = mechanism()
    sums = np.array([2**31 - 1, 2**31, 2**31 + 5, -(2**31), -(2**31) - 1, 2**32 + 7])
    expected = [2**31 - 1, -(2**31), -(2**31) + 5, -(2**31), 2**31 - 1, 7]
    assert (made.decode(sums.astype(np.uint32)) / made.grid).tolist() == expected


# The record


@pytest.mark.parametrize(
    "wrong",
    [
        {"honest": 2},
        {"honest": 0},
        {"noise_multiplier": 0.0},
        {"clip": -1.0},
        {"clip": math.nan},
        {"entries": 0},
        {"noise_multiplier": 1e5},
        {"sites": 2**22, "honest": 1},
    ],
)
def test_what_cannot_hold_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        mechanism(**wrong)
    assert mechanism()


def test_a_plan_carries_it_and_refuses_nonsense() -> None:
    made = mechanism(honest=2, sites=3)
    assert unpack(Mechanism, pack(made)) == made
    for old, new in ((b"\xa6honest\x02", b"\xa6honest\x04"), (b"\xa5sites\x03", b"\xa5sites\x00")):
        packed = pack(made)
        assert old in packed
        with pytest.raises(PeerError, match=r"honest|sites"):
            unpack(Mechanism, packed.replace(old, new))
