"""Privacy events and what they add up to. Unit: the patient (add or remove all images of one; PRIVACY.md).

Events are frozen and versioned; accountants consume them and never change what an old event meant. RDP gives the
running totals a hospital's policy is held against; PRV gives the tighter figure of the report. Both are Opacus's.

    >>> 13.6 < rdp_epsilon((SampledGaussian(sampling_rate=0.1, noise_multiplier=1.0, steps=300),), 1e-5) < 13.7
    True
"""

import functools
import math
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
from opacus.accountants import PRVAccountant
from opacus.accountants.analysis import rdp
from opacus.accountants.rdp import RDPAccountant

from shared.errors import InputError
from shared.study import Privacy, Study
from shared.wire import Record

#: Beyond this a step carries nothing but noise: the target is refused instead.
MOST_NOISE = 1000.0
#: Rényi orders: Opacus's own, and larger ones for small ε.
ORDERS = [*RDPAccountant.DEFAULT_ALPHAS, 72.0, 96.0, 128.0, 192.0, 256.0, 512.0]


class SampledGaussian(Record, frozen=True):
    """`steps` sums over Poisson-sampled patients (rate `sampling_rate`), each clipped to C, plus N(0, (σC)²).

    Sensitivity C in L2 for adding or removing one patient; `noise_multiplier` is σ.
    """

    sampling_rate: float
    noise_multiplier: float
    steps: int
    version: int = 1


def _merged(events: Iterable[SampledGaussian]) -> tuple[tuple[float, float, int], ...]:
    steps: Counter[tuple[float, float]] = Counter()
    for event in events:
        steps[event.noise_multiplier, event.sampling_rate] += event.steps
    return tuple((sigma, rate, count) for (sigma, rate), count in sorted(steps.items()))


@functools.lru_cache(maxsize=256)
def _rdp_epsilon(history: tuple[tuple[float, float, int], ...], delta: float) -> float:
    total = sum(
        rdp.compute_rdp(q=rate, noise_multiplier=sigma, steps=steps, orders=ORDERS) for sigma, rate, steps in history
    )
    with _edge_of_orders():
        epsilon, _ = rdp.get_privacy_spent(orders=ORDERS, rdp=total, delta=delta)
    return float(epsilon)


@contextmanager
def _edge_of_orders() -> Iterator[None]:
    """Opacus warns where the best order is the first or last tried; the ε it gives is a valid, larger bound."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Optimal order is the .*", category=UserWarning)
        yield


def rdp_epsilon(events: Iterable[SampledGaussian], delta: float) -> float:
    """ε at `delta` of all `events` composed (Mironov 2017; Mironov, Talwar, Zhang 2019). 0 without events."""
    history = _merged(events)
    return _rdp_epsilon(history, delta) if history else 0.0


def prv_epsilon(events: Iterable[SampledGaussian], delta: float) -> float:
    """ε at `delta` by numerical composition (Gopi, Lee, Wutschitz 2021): its upper bound. 0 without events."""
    history = _merged(events)
    if not history:
        return 0.0
    accountant = PRVAccountant()
    accountant.history = list(history)
    with (
        _edge_of_orders(),
        np.errstate(divide="ignore"),
    ):  # log 0 at the very edge of a loss's support is -inf, as meant
        return float(accountant.get_epsilon(delta))


def planned_steps(study: Study) -> int:
    """Optimiser steps of a private study when every round is run."""
    return study.training.rounds * (study.training.local_steps or 0)


def round_event(study: Study, noise_multiplier: float) -> SampledGaussian:
    """What one round of `study` spends on every patient of a hospital's training split."""
    rate = study.privacy.sampling_rate
    if rate is None or study.training.local_steps is None:
        raise ValueError("round_event needs a private study")
    return SampledGaussian(sampling_rate=rate, noise_multiplier=noise_multiplier, steps=study.training.local_steps)


@functools.lru_cache(maxsize=64)
def _least_noise(privacy: Privacy, steps: int) -> float:
    def epsilon(sigma: float) -> float:
        event = SampledGaussian(sampling_rate=privacy.sampling_rate or 1.0, noise_multiplier=sigma, steps=steps)
        return rdp_epsilon((event,), privacy.delta or 0.0)

    target = privacy.epsilon or 0.0
    if epsilon(MOST_NOISE) > target:
        raise InputError(
            "study.toml: privacy.epsilon",
            expected=f"a target that {steps} steps can meet at sampling_rate {privacy.sampling_rate}"
            f" with a noise multiplier up to {MOST_NOISE:g}",
            got=f"{target:g} at delta {privacy.delta:g}",
            do="Raise epsilon or delta, or take fewer rounds, fewer local_steps or a lower sampling_rate.",
        )
    low, high = math.log(0.1), math.log(MOST_NOISE)
    while high - low > 1e-5:
        middle = (low + high) / 2
        low, high = (middle, high) if epsilon(math.exp(middle)) > target else (low, middle)
    return math.ceil(math.exp(high) * 1e4) / 1e4


def noise_multiplier(study: Study) -> float | None:
    """σ with which all rounds of `study` together stay within its ε; None when its privacy is off.

    Every hospital computes it from the study alone; the coordinator's word is not taken. Raises InputError if no
    usable noise meets the target.
    """
    if study.privacy.mode == "off":
        return None
    return _least_noise(study.privacy, planned_steps(study))
