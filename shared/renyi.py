"""Rényi differential privacy of the Poisson-sampled Gaussian mechanism, and the ε that it comes to.

Guarantees: every figure is an upper bound, rounding included, and within 1e-13 ÷ (α − 1) of the truth wherever noise
hides anybody; there is one for every σ > 0 and 0 < q ≤ 1, however small or large; numpy alone, and milliseconds.

Sensitivity 1 in L2 for adding or removing one patient, noise N(0, σ²), each patient drawn with probability q:

    A_α = E over z ~ N(0, σ²) of ((1 − q) + q exp((2z − 1) ÷ 2σ²))^α        Mironov, Talwar, Zhang 2019 (arXiv
    ε(α) = log A_α ÷ (α − 1)                                                1908.10530), section 3.3, theorems 4 and 5

    >>> float(curve(2.0, 1.0)[ORDERS == 3.0][0])  # α ÷ 2σ² where everybody takes part
    0.375
"""

import functools
import math

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]

#: Rényi orders: fine where a large ε is decided, coarse up to those that a small one needs.
ORDERS: Curve = np.array(
    [1 + x / 10 for x in range(1, 100)]
    + [float(x) for x in range(11, 64)]
    + [72.0, 96.0, 128.0, 192.0, 256.0, 384.0, 512.0, 768.0, 1024.0, 2048.0]
)
#: Less noise than this hides nobody; with more a step carries nothing else, and the target is refused instead.
LEAST_NOISE, MOST_NOISE = 0.1, 1000.0
#: From here on (α ÷ σ²) a moment is bounded by the one without sampling: it decides nothing, and its integral is long.
_FAR = 50_000.0
#: Standard deviations that the integral reaches beyond its last peak.
_TAIL = 12.0
#: What rounding may take from the logarithm of a moment is added to it.
_ROUNDING = 1e-14


@functools.lru_cache(maxsize=4096)
def curve(noise_multiplier: float, sampling_rate: float) -> Curve:
    """ε(α) of one step at each of `ORDERS`, read-only. Raises ValueError for what is no noise or no rate."""
    if not (0 < noise_multiplier < math.inf and 0 < sampling_rate <= 1):
        raise ValueError(f"expected noise above 0 and a rate in (0, 1], got {noise_multiplier} and {sampling_rate}")
    found = np.array([_divergence(noise_multiplier, sampling_rate, order) for order in ORDERS])
    found.setflags(write=False)
    return found


def _divergence(sigma: float, rate: float, order: float) -> float:
    whole = order / 2 / sigma / sigma  # without sampling: Mironov 2017, proposition 7
    if rate == 1.0 or order > _FAR * sigma * sigma:
        return whole
    return min(whole, (max(0.0, _log_moment(sigma, rate, order)) + _ROUNDING) / (order - 1))


def _log_moment(sigma: float, rate: float, order: float) -> float:
    """log A_α by the trapezoid rule in u = z ÷ σ.

    The integrand is analytic for |Im u| < πσ and falls as a Gaussian, so that a step h leaves an error of about
    exp(−2π × πσ ÷ h), or exp(−2π² ÷ h²) (Trefethen and Weideman 2014): below 1e-34. Where it is cut off, at 12
    left of 0 and right of α ÷ σ, its logarithm falls by more than 12 for each 1, from 72 below a value it has had.
    """
    step = min(1.0, sigma) / 4
    u = np.arange(-_TAIL, order / sigma + _TAIL + step, step)
    ratio = u / sigma - 1 / (2 * sigma * sigma)
    log_values = order * np.logaddexp(math.log1p(-rate), math.log(rate) + ratio) - u * u / 2
    top = float(log_values.max())
    return top + math.log(float(np.exp(log_values - top).sum()) * step / math.sqrt(2 * math.pi))


def epsilon_of(total: Curve, delta: float) -> float:
    """ε at `delta` of a mechanism with Rényi divergences `total` at `ORDERS`: the least over them (Balle et al. 2020,
    arXiv 1905.09982, theorem 21; Canonne, Kamath, Steinke 2020, arXiv 2004.00010, proposition 12)."""
    if not 0 < delta < 1:
        raise ValueError(f"expected a delta in (0, 1), got {delta}")
    each = total + np.log1p(-1 / ORDERS) - (math.log(delta) + np.log(ORDERS)) / (ORDERS - 1)
    return max(0.0, float(each.min()))


@functools.lru_cache(maxsize=256)
def least_noise(epsilon: float, delta: float, sampling_rate: float, steps: int) -> float | None:
    """The smallest σ from 0.1 to `MOST_NOISE`, in five figures, with which `steps` steps stay within `epsilon` at
    `delta`; None where there is none. Five figures, so that two machines that differ in the last digit agree."""

    def meets(sigma: float) -> bool:
        return epsilon_of(steps * curve(sigma, sampling_rate), delta) <= epsilon

    if not meets(MOST_NOISE):
        return None
    low, high = math.log(LEAST_NOISE), math.log(MOST_NOISE)
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if meets(math.exp(middle)) else (middle, high)
    unit = 10.0 ** (math.floor(math.log10(math.exp(high))) - 4)
    return float(f"{math.ceil(math.exp(high) / unit) * unit:.5g}")
