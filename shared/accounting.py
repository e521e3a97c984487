"""Privacy events and what they add up to. Unit: the patient (add or remove all images of one; PRIVACY.md).

Events are frozen and versioned; accountants consume them and never change what an old event meant. RDP gives the
running totals a hospital's policy is held against; PRV gives the tighter figure of the report. Both are Opacus's.

    >>> 13.6 < rdp_epsilon((SampledGaussian(sampling_rate=0.1, noise_multiplier=1.0, steps=300),), 1e-5) < 13.7
    True
"""

import functools
from collections import Counter
from collections.abc import Iterable

from shared.study import Privacy, Study
from shared.wire import Record
from shared.workers import aside


class SampledGaussian(Record, frozen=True, tag="sampled-gaussian"):
    """`steps` sums over Poisson-sampled patients (rate `sampling_rate`), each clipped to C, plus N(0, (σC)²), or a
    discrete mechanism that is at least as private (shared/mechanism.py).

    Sensitivity C in L2 for adding or removing one patient; `noise_multiplier` is σ. It takes the noise of `honest`
    hospitals to make it: 1 where this hospital added all of it, t − c where it added a share under masks.
    """

    sampling_rate: float
    noise_multiplier: float
    steps: int
    honest: int = 1
    version: int = 2


class Stated(Record, frozen=True, tag="stated"):
    """Spending of which only the figures are known: (ε, δ), in a system other than this one."""

    epsilon: float
    delta: float
    version: int = 1


#: What a ledger holds of one charge.
Event = SampledGaussian | Stated


def _merged(events: Iterable[SampledGaussian]) -> tuple[tuple[float, float, int], ...]:
    steps: Counter[tuple[float, float]] = Counter()
    for event in events:
        steps[event.noise_multiplier, event.sampling_rate] += event.steps
    return tuple((sigma, rate, count) for (sigma, rate), count in sorted(steps.items()))


def rdp_epsilon(events: Iterable[SampledGaussian], delta: float) -> float:
    """ε at `delta` of all `events` composed (Mironov 2017; Mironov, Talwar, Zhang 2019). 0 without events."""
    history = _merged(events)
    if not history:
        return 0.0
    from shared.accountants import rdp_epsilon as composed  # noqa: PLC0415  torch takes seconds

    return composed(history, delta)


def prv_epsilon(events: Iterable[SampledGaussian], delta: float) -> float:
    """ε at `delta` by numerical composition (Gopi, Lee, Wutschitz 2021): its upper bound. 0 without events."""
    history = _merged(events)
    return aside("shared.accountants", "prv_epsilon", history, delta) if history else 0.0


def planned_steps(study: Study) -> int:
    """Optimiser steps of a private study when every round is run."""
    return study.training.rounds * (study.training.local_steps or 0)


def round_event(study: Study, noise_multiplier: float, *, honest: int = 1) -> SampledGaussian:
    """What one round of `study` spends on every patient of a hospital's training split, by the noise of `honest`."""
    rate = study.privacy.sampling_rate
    if rate is None or study.training.local_steps is None:
        raise ValueError("round_event needs a private study")
    return SampledGaussian(
        sampling_rate=rate, noise_multiplier=noise_multiplier, steps=study.training.local_steps, honest=honest
    )


@functools.lru_cache(maxsize=64)
def _least_noise(privacy: Privacy, steps: int) -> float:
    return float(aside("shared.accountants", "least_noise", privacy, steps))


def noise_multiplier(study: Study) -> float | None:
    """σ with which all rounds of `study` together stay within its ε; None when its privacy is off.

    Every hospital computes it from the study alone; the coordinator's word is not taken. Raises InputError if no
    usable noise meets the target.
    """
    if study.privacy.mode == "off":
        return None
    return _least_noise(study.privacy, planned_steps(study))
