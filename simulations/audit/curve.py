"""How private composed sampled Gaussians are, at every ε: the whole claim that an audit tests.

`curve_of` discretises the privacy loss of one step and composes it by a fast Fourier transform (Koskela, Jälkö,
Honkela 2020, arXiv 1906.03049), every loss rounded up: the δ are upper bounds, so that a run which keeps the claim is
not contradicted. It shares no code with the accountants that hospitals charge by.

Unit: patient. Neighbouring: one patient added or removed, sensitivity 1 in L2. The direction in which the patient is
removed decides (Zhu, Dong, Wang 2022, arXiv 2106.08567, for ε ≥ 0), so the δ hold for both.

    >>> curve_of(noise_multiplier=1.0, sampling_rate=1.0, steps=1).epsilon(1e-5) < 4.5
    True
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, rfft
from scipy.signal import lfilter
from scipy.special import ndtr

Floats = NDArray[np.float64]

#: Standard deviations beyond which a step's noise is counted as lost: 10^-33 of the steps.
TAIL = 12.0
#: Most that rounding losses up adds to ε, over all steps, and most cells that this may take.
ROUNDING, MOST_CELLS = 0.01, 1 << 22
#: Points kept of the curve, and the least δ among them.
POINTS, LEAST_DELTA = 600, 1e-13
#: e^ε beyond it is no number.
MOST_EPSILON = 600.0


@dataclass(frozen=True)
class Curve:
    """(`epsilons`[i], `deltas`[i])-private for every i, [n] each; ε ascending from 0."""

    epsilons: Floats
    deltas: Floats

    def epsilon(self, delta: float) -> float:
        """ε at `delta`, linear between the points: δ is convex in ε, so it is an upper bound. inf below the least δ."""
        if delta < self.deltas[-1]:
            return math.inf
        return float(np.interp(-delta, -self.deltas, self.epsilons))

    def least(self, chance: Floats) -> Floats:
        """The least chance that an event can have without the patient whose chance with the patient is `chance` [n], or
        the other way round: the inverse of 1 − f of the trade-off function f (Dong, Roth, Su 2022, section 2.4)."""
        column = chance[:, None]  # [n, 1] against [1, points]
        steep = (column - self.deltas) * np.exp(-self.epsilons)
        flat = 1 - self.deltas - np.exp(self.epsilons) * (1 - column)
        found: Floats = np.maximum(steep, flat).max(axis=1).clip(0.0)
        return found


@functools.lru_cache(maxsize=256)
def curve_of(*, noise_multiplier: float, sampling_rate: float, steps: int) -> Curve:
    """The curve of `steps` sums over Poisson-sampled patients plus N(0, noise_multiplier²)."""
    step = _Step(noise_multiplier, sampling_rate)
    reach = step.reach(steps)
    cells = 1 << math.ceil(math.log2(2 * reach * max(steps / ROUNDING, 2**12 / reach)))
    cells = min(cells, MOST_CELLS)
    width = 2 * reach / cells
    masses, lost = step.masses(width, cells)
    composed = np.maximum(irfft(rfft(masses) ** steps, cells), 0.0)[: cells // 2]  # the half above 0
    losses: Floats = width * np.arange(cells // 2, dtype=np.float64)
    # δ(ε) = Σ of p(l) (1 − e^(ε − l)) over l ≥ ε; the second sum from the far end on, each term e^−width of the last
    above = np.cumsum(composed[::-1])[::-1]
    scaled = lfilter([1.0], [1.0, -math.exp(-width)], composed[::-1])[::-1]
    deltas: Floats = np.maximum(above - scaled, 0.0) + (1 - (1 - lost) ** steps)
    return _thinned(losses, np.minimum.accumulate(deltas))


@dataclass(frozen=True)
class _Step:
    """One step: z ~ (1 − q) N(0, σ²) + q N(1, σ²) against N(0, σ²)."""

    sigma: float
    rate: float

    def loss(self, z: Floats) -> Floats:
        """log of (1 − q) + q exp((2z − 1) ÷ 2σ²)."""
        ratio = (2 * z - 1) / (2 * self.sigma**2)
        return ratio if self.rate == 1 else np.logaddexp(math.log1p(-self.rate), math.log(self.rate) + ratio)

    def ends(self) -> Floats:
        """The least and the largest loss that is counted."""
        return self.loss(np.array([-TAIL * self.sigma, 1 + TAIL * self.sigma]))

    def reach(self, steps: int) -> float:
        """Beyond it lies nothing of the composed loss: its mean and 12 of its standard deviations, and one step."""
        z = np.linspace(-TAIL * self.sigma, 1 + TAIL * self.sigma, 100_001)
        weight = (1 - self.rate) * np.exp(-(z**2) / 2 / self.sigma**2)
        weight += self.rate * np.exp(-((z - 1) ** 2) / 2 / self.sigma**2)
        weight /= weight.sum()
        mean = float(weight @ self.loss(z))
        spread = math.sqrt(max(0.0, float(weight @ self.loss(z) ** 2) - mean**2))
        return max(float(np.abs(self.ends()).max()), abs(mean) * steps + TAIL * spread * math.sqrt(steps)) + 1

    def masses(self, width: float, cells: int) -> tuple[Floats, float]:
        """Chance of each loss, rounded up to a multiple of `width`, negative ones at the end [cells]; what is lost."""
        low, high = self.ends()
        places = np.arange(math.floor(low / width), math.ceil(high / width) + 1)
        reached = self._below(places * width)
        found = np.zeros(cells)
        found[places % cells] = np.diff(reached, prepend=0.0)
        return found, float(1 - reached[-1])

    def _below(self, losses: Floats) -> Floats:
        """Chance of a loss of at most `losses`."""
        with np.errstate(divide="ignore", invalid="ignore"):  # below log(1 − q) there is no loss
            ratio = losses if self.rate == 1 else np.log1p(np.expm1(losses) / self.rate)
        z = np.nan_to_num(self.sigma**2 * ratio + 0.5, nan=-math.inf, neginf=-math.inf, posinf=math.inf)
        chance: Floats = (1 - self.rate) * ndtr(z / self.sigma) + self.rate * ndtr((z - 1) / self.sigma)
        return chance


def _thinned(epsilons: Floats, deltas: Floats) -> Curve:
    """POINTS of the curve: fewer make it a weaker claim, never a stronger one."""
    known, finite = np.searchsorted(-deltas, -LEAST_DELTA), np.searchsorted(epsilons, MOST_EPSILON)
    last = min(int(known), int(finite), len(deltas) - 1)
    keep = np.unique(np.linspace(0, last, POINTS).astype(np.int64))
    return Curve(epsilons[keep], np.minimum(deltas[keep], 1.0))
