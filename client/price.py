"""What a study costs the patients of this hospital, in plain words: ε of the study, of the ledger so far, and after it.

Guarantees: every figure is of the study that was signed, this hospital's policy and its ledger, by the functions that
charge; a study that no usable noise can meet costs infinitely much.
"""

import math

from msgspec.structs import replace

from client.ledger import Ledger
from client.policy import Policy
from client.rules import Finding
from shared.accounting import (
    Event,
    SampledGaussian,
    alone,
    evaluation_event,
    noise_multiplier,
    planned_evaluations,
    rdp_epsilon,
    round_event,
)
from shared.errors import InputError
from shared.noisy_sum import honest_of
from shared.study import Study, study_hash


def privacy_of(study: Study, policy: Policy, ledger: Ledger) -> tuple[str, ...]:
    """What is promised per patient, on whose word, and what is left after it, in whole sentences."""
    epsilon, delta = study.privacy.epsilon, study.privacy.delta
    if epsilon is None or delta is None:
        return (
            "No differential privacy: nothing bounds what the sums and the model tell about one patient.",
            _held_out(study),
        )
    limit, at = policy.privacy.epsilon_total, policy.privacy.delta
    now, after = ledger.epsilon(at), _after(study, policy, ledger, alone=False)
    return (
        f"ε = {epsilon:g} at δ = {delta:g} for each patient over the whole study, mode {study.privacy.mode}: "
        f"{_rests_on(study, epsilon, delta)}.",
        f"Each patient's part in a step is clipped to {study.privacy.clip:g}{_follows(study)}.",
        "That is: because one patient takes part, nothing that is made of the training gets more than "
        f"{_factor(epsilon)} times as likely, but for a chance of {delta:g}.",
        _held_out(study),
        f"The patient who has spent most has ε = {now:.3g} now and would have {after:.3g} after all rounds; "
        f"{max(0.0, round(limit - after, 2)):g} of {limit:g} would be left (at δ = {at:g}).",
    )


def _follows(study: Study) -> str:
    quantile = study.privacy.clip_quantile
    return (
        "" if quantile is None else f" at first; then the clip follows what {quantile:.0%} of the patients stay below"
    )


def _rests_on(study: Study, epsilon: float, delta: float) -> str:
    if study.privacy.mode == "local":
        return "whatever other hospitals do"
    cohort = study.federation.min_sites
    honest = honest_of(study, cohort)
    return (
        f"this takes the noise of {honest} honest hospitals of {cohort} (more, if more take part) and masks that hold; "
        f"with this hospital's noise alone, ε is {_alone(study, honest, epsilon, delta):.3g} instead of {epsilon:g}"
    )


def _alone(study: Study, honest: int, epsilon: float, delta: float) -> float:
    """ε of the whole study if no other hospital added its share; infinite where no usable noise meets its target."""
    try:
        sigma = noise_multiplier(study)
    except InputError:
        return math.inf
    if sigma is None:
        return epsilon
    return rdp_epsilon(alone([repeated(round_event(study, sigma, honest=honest), study.training.rounds)]), delta)


def _held_out(study: Study) -> str:
    evaluation = study.evaluation
    if evaluation.epsilon is None:
        return "Held-out patients are not trained on; their scores enter masked sums without noise."
    return (
        f"Held-out patients are not trained on; all evaluations together tell at most ε = {evaluation.epsilon:g} at "
        f"δ = {evaluation.delta:g} of each, by this hospital's own noise."
    )


def budget_of(study: Study, policy: Policy, ledger: Ledger) -> tuple[Finding, ...]:
    """The ledger's limits held against all that the study would charge; none where it charges nothing."""
    if study.privacy.mode == "off" and study.evaluation.epsilon is None:
        return ()
    return tuple(
        Finding(
            rule=f"privacy.{key}",
            demands=f"at most ε = {most:g} per patient {where}",
            brings=f"ε = {after:.3g} after all its rounds",
            holds=after <= most,
            change="This hospital trains as many rounds as fit and then stops.",
        )
        for key, where, most, after in (
            ("epsilon_total", "in all", policy.privacy.epsilon_total, _after(study, policy, ledger, alone=False)),
            ("epsilon_per_study", "in it", policy.privacy.epsilon_per_study, _after(study, policy, ledger, alone=True)),
        )
    )


def _after(study: Study, policy: Policy, ledger: Ledger, *, alone: bool) -> float:
    """ε at the policy's δ of the patient who will have spent most, whichever split of the study that patient is in, if
    all its rounds and evaluations are charged."""
    try:
        planned = _planned(study)
    except InputError:
        return math.inf
    at, key = policy.privacy.delta, study_hash(study) if alone else None
    return max(ledger.epsilon_with(events, at, study_hash=key) for events in planned)


def _planned(study: Study) -> list[list[Event]]:
    """What the study charges to a patient of each split. Raises InputError where no usable noise meets its target."""
    sigma = noise_multiplier(study)
    training: list[Event] = [] if sigma is None else [repeated(round_event(study, sigma), study.training.rounds)]
    scored: list[list[Event]] = [
        [repeated(evaluation_event(study, split), count)]
        for split, count in planned_evaluations(study).items()
        if study.evaluation.epsilon is not None
    ]
    return [training, *scored]


def repeated(event: SampledGaussian, times: int) -> SampledGaussian:
    """`times` such events as one."""
    return replace(event, steps=times * event.steps)


def _factor(epsilon: float) -> str:
    """e^ε in figures that a person reads."""
    return f"{math.exp(epsilon):,.3g}" if epsilon < 6.9 else f"e^{epsilon:g}"
