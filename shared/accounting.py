"""Privacy events and what they add up to. Unit: the patient (add or remove all images of one; PRIVACY.md).

Events are frozen and versioned; accountants consume them and never change what an old event meant. Rényi DP
(shared/renyi.py) gives the running totals that a hospital's policy and a study's promise are held against; PRV (Opacus)
gives the tighter figure of the report. Events whose ε alone is known compose with the others by basic composition.

    >>> 13.6 < rdp_epsilon((SampledGaussian(sampling_rate=0.1, noise_multiplier=1.0, steps=300),), 1e-5) < 13.7
    True
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from shared.errors import InputError
from shared.renyi import MOST_NOISE, curve, epsilon_of, least_noise
from shared.study import Study
from shared.wire import Record
from shared.workers import aside

#: Steps of each kind: by (noise multiplier, sampling rate).
Counts = Mapping[tuple[float, float], int]
#: Between these ε by Rényi the numerical composition holds what it says in double precision.
TIGHT = (0.05, 100.0)
#: and the smallest δ: below it float64 cannot tell its probabilities from 0.
LEAST_DELTA = 1e-12
#: Splits of held-out patients, as messages name them.
VALIDATION, TEST = 1, 2


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


@dataclass(frozen=True)
class Merged:
    """Events put together: `steps` of each kind, and the sums of ε and δ of those that are `stated`. Whoever shared in
    the noise is left out: it has no part in what was spent."""

    steps: Counts
    stated: tuple[float, float] = (0.0, 0.0)


def merged(events: Iterable[Event]) -> Merged:
    """`events` put together, in whatever order."""
    steps: Counter[tuple[float, float]] = Counter()
    stated = []
    for event in events:
        if isinstance(event, SampledGaussian):
            steps[event.noise_multiplier, event.sampling_rate] += event.steps
        else:
            stated.append(event)
    return Merged(steps, (math.fsum(e.epsilon for e in stated), math.fsum(e.delta for e in stated)))


def rdp_epsilon_of(steps: Counts, stated: tuple[float, float], delta: float) -> float:
    """ε at `delta` of `steps` of each kind and of `stated` spending: microseconds once a kind is known.

    Rényi divergences add up, step by step and kind by kind (Mironov 2017, proposition 1). What is stated adds its ε and
    takes its δ from `delta` (Dwork and Roth 2014, theorem 3.16): infinite where that uses it up. 0 of nothing.
    """
    epsilon, left = stated[0], delta - stated[1]
    kinds = [kind for kind in sorted(steps) if steps[kind]]
    if left < 0 or (kinds and left <= 0):
        return math.inf
    return (
        epsilon + epsilon_of(np.sum([steps[kind] * curve(*kind) for kind in kinds], axis=0), left) if kinds else epsilon
    )


def rdp_epsilon(events: Iterable[Event], delta: float) -> float:
    """ε at `delta` of all `events` composed, as `rdp_epsilon_of`."""
    whole = merged(events)
    return rdp_epsilon_of(whole.steps, whole.stated, delta)


def prv_epsilon(events: Iterable[Event], delta: float) -> float:
    """ε at `delta` by numerical composition (Gopi, Lee, Wutschitz 2021), an upper bound too; never above that of
    `rdp_epsilon`, which is given where it is too small or too large for the numbers. Takes seconds."""
    whole = merged(events)
    most = rdp_epsilon_of(whole.steps, whole.stated, delta)
    history = tuple((*kind, count) for kind, count in sorted(whole.steps.items()) if count)
    gaussian = most - whole.stated[0]
    left = delta - whole.stated[1]
    if not (history and TIGHT[0] < gaussian < TIGHT[1] and left >= LEAST_DELTA):
        return most
    tight = aside("shared.accountants", "prv_epsilon", history, left, gaussian)
    return min(most, whole.stated[0] + float(tight))


def alone(events: Iterable[Event]) -> tuple[Event, ...]:
    """`events` as if this hospital were the only honest one: its own share is then all the noise, σ ÷ √honest."""
    return tuple(
        replace(event, noise_multiplier=event.noise_multiplier / math.sqrt(event.honest), honest=1)
        if isinstance(event, SampledGaussian)
        else event
        for event in events
    )


def planned_steps(study: Study) -> int:
    """Optimiser steps of a private study when every round is run."""
    return study.training.rounds * (study.training.local_steps or 0)


def planned_evaluations(study: Study) -> dict[int, int]:
    """How often each split's patients are evaluated when every round is run: those of validation (1) after each
    `evaluation.every` rounds and after the last, those of the test (2) once."""
    return {VALIDATION: math.ceil(study.training.rounds / study.evaluation.every), TEST: 1}


def round_event(study: Study, noise_multiplier: float, *, honest: int = 1) -> SampledGaussian:
    """What one round of `study` spends on every patient of a hospital's training split, by the noise of `honest`."""
    rate = study.privacy.sampling_rate
    if rate is None or study.training.local_steps is None:
        raise ValueError("round_event needs a private study")
    return SampledGaussian(
        sampling_rate=rate, noise_multiplier=noise_multiplier, steps=study.training.local_steps, honest=honest
    )


def evaluation_event(study: Study, split: int) -> SampledGaussian:
    """What one evaluation of `split` spends on each of its patients: everybody takes part, so nothing is sampled, and
    each hospital adds all the noise itself. Raises InputError as `evaluation_noise`, ValueError where none is asked."""
    sigma = evaluation_noise(study, split)
    if sigma is None:
        raise ValueError("evaluation_event needs a study with evaluation.epsilon")
    return SampledGaussian(sampling_rate=1.0, noise_multiplier=sigma, steps=1)


def noise_multiplier(study: Study) -> float | None:
    """σ of the whole sum with which all rounds of `study` stay within its ε, in both private modes; None when its
    privacy is off.

    Every hospital computes it from the study alone; the coordinator's word is not taken. Raises InputError if no
    usable noise meets the target.
    """
    privacy, steps = study.privacy, planned_steps(study)
    if privacy.epsilon is None or privacy.delta is None or privacy.sampling_rate is None:
        return None
    sigma = least_noise(privacy.epsilon, privacy.delta, privacy.sampling_rate, steps)
    if sigma is None:
        raise InputError(
            "study.toml: privacy.epsilon",
            expected=f"a target that {steps} steps can meet at sampling_rate {privacy.sampling_rate}"
            f" with a noise multiplier up to {MOST_NOISE:g}",
            got=f"{privacy.epsilon:g} at delta {privacy.delta:g}",
            do="Raise epsilon or delta, or take fewer rounds, fewer local_steps or a lower sampling_rate.",
        )
    return sigma


def evaluation_noise(study: Study, split: int) -> float | None:
    """σ of each evaluation of `split` (1 validation, 2 test) with which all of that split stay within
    `evaluation.epsilon` at `evaluation.delta`; None where the study asks for no noise. A patient is in one split only.

    Raises InputError if no usable noise meets the target.
    """
    evaluation, times = study.evaluation, planned_evaluations(study)[split]
    if evaluation.epsilon is None or evaluation.delta is None:
        return None
    sigma = least_noise(evaluation.epsilon, evaluation.delta, 1.0, times)
    if sigma is None:
        raise InputError(
            "study.toml: evaluation.epsilon",
            expected=f"a target that {times} evaluations can meet with a noise multiplier up to {MOST_NOISE:g}",
            got=f"{evaluation.epsilon:g} at delta {evaluation.delta:g}",
            do="Raise epsilon or delta, or evaluate less often (evaluation.every).",
        )
    return sigma
