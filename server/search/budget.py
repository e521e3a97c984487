"""One privacy budget for several runs: a search and the run after it, or the folds of a cross-validation.

Guarantees: what all runs together tell of a patient stays within the study's own ε at its δ, composed by Rényi as the
hospitals' ledgers compose it. Nothing is won by not looking: a trial that was thrown away is paid for like the best
(Papernot and Steinke 2022, arXiv 2110.03620, bound what choosing among them would tell; here all of them are told).
"""

from collections.abc import Iterable

from msgspec.structs import replace

from shared.accounting import SampledGaussian, noise_multiplier, planned_steps, rdp_epsilon, round_event
from shared.errors import InputError
from shared.renyi import least_noise
from shared.study import Study


def share_of(study: Study, runs: int) -> Study:
    """`study` with the ε that each of `runs` equal runs may spend so that all together spend the study's. Raises
    InputError where no usable noise meets that."""
    privacy, steps = study.privacy, planned_steps(study)
    if privacy.epsilon is None or privacy.delta is None or privacy.sampling_rate is None:
        return study
    sigma = least_noise(privacy.epsilon, privacy.delta, privacy.sampling_rate, runs * steps)
    if sigma is None:
        raise InputError(
            "privacy.epsilon",
            expected=f"a budget for {runs} runs of {steps} steps",
            got=f"{privacy.epsilon:g}",
            do="Try fewer settings or fewer rounds, or raise it.",
        )
    spent = rdp_epsilon([_whole_run(study, sigma)], privacy.delta)
    return replace(study, privacy=replace(privacy, epsilon=min(spent, privacy.epsilon)))


def spent_by(studies: Iterable[Study]) -> float:
    """ε at the first one's δ of whole runs of all `studies`; 0 without privacy."""
    runs = [study for study in studies if study.privacy.mode != "off"]
    if not runs:
        return 0.0
    return rdp_epsilon([_whole_run(run, noise_multiplier(run) or 0.0) for run in runs], runs[0].privacy.delta or 0.0)


def _whole_run(study: Study, sigma: float) -> SampledGaussian:
    return replace(round_event(study, sigma), steps=planned_steps(study))
