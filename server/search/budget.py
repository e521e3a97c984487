"""One privacy budget for several runs: a search and the run after it, or the folds of a cross-validation.

Guarantees: what all runs together tell of a patient stays within the study's own ε at its δ, composed by Rényi as the
hospitals' ledgers compose it. Nothing is won by not looking: a trial that was thrown away is paid for like the best
(Papernot and Steinke 2022, arXiv 2110.03620, bound what choosing among them would tell; here all of them are told).
"""

from collections.abc import Iterable
from typing import NamedTuple

from msgspec.structs import replace

from shared.accounting import (
    VALIDATION,
    SampledGaussian,
    evaluation_event,
    noise_multiplier,
    planned_evaluations,
    planned_steps,
    rdp_epsilon,
    round_event,
)
from shared.errors import InputError
from shared.renyi import least_noise
from shared.study import Study


def share_of(study: Study, runs: int) -> Study:
    """`study` with the ε that each of `runs` equal runs may spend so that all together spend the study's: in
    training, and in evaluations where those carry noise. Raises InputError where no usable noise meets that."""
    privacy, evaluation = study.privacy, study.evaluation
    if privacy.epsilon is not None and privacy.delta is not None and privacy.sampling_rate is not None:
        event = _Steps(privacy.delta, privacy.sampling_rate, planned_steps(study))
        part = _part("privacy.epsilon", privacy.epsilon, event, runs)
        study = replace(study, privacy=replace(privacy, epsilon=part))
    if evaluation.epsilon is not None and evaluation.delta is not None:
        times = max(planned_evaluations(study).values())
        part = _part("evaluation.epsilon", evaluation.epsilon, _Steps(evaluation.delta, 1.0, times), runs)
        study = replace(study, evaluation=replace(evaluation, epsilon=part))
    return study


class _Steps(NamedTuple):
    """What one run does: `steps` at sampling rate `rate`, counted at `delta`."""

    delta: float
    rate: float
    steps: int


def _part(where: str, epsilon: float, run: _Steps, runs: int) -> float:
    """The ε of one of `runs` runs that together spend `epsilon`, which stands at `where`."""
    sigma = least_noise(epsilon, run.delta, run.rate, runs * run.steps)
    if sigma is None:
        raise InputError(
            where,
            expected=f"a budget for {runs} runs of {run.steps} steps",
            got=f"{epsilon:g}",
            do="Try fewer settings or fewer rounds, or raise it.",
        )
    one = SampledGaussian(sampling_rate=run.rate, noise_multiplier=sigma, steps=run.steps)
    return min(rdp_epsilon([one], run.delta), epsilon)


def spent_by(studies: Iterable[Study]) -> float:
    """ε at the first one's δ of whole runs of all `studies`; 0 without privacy."""
    runs = [study for study in studies if study.privacy.mode != "off"]
    if not runs:
        return 0.0
    return rdp_epsilon([_whole_run(run, noise_multiplier(run) or 0.0) for run in runs], runs[0].privacy.delta or 0.0)


def told_by(studies: Iterable[Study]) -> float:
    """ε at the first one's δ of all evaluations of the validation patients in whole runs of `studies`, which spend the
    most on one patient; 0 where they carry no noise."""
    runs = [study for study in studies if study.evaluation.epsilon is not None]
    if not runs:
        return 0.0
    return rdp_epsilon([_evaluations(run) for run in runs], runs[0].evaluation.delta or 0.0)


def _evaluations(study: Study) -> SampledGaussian:
    return replace(evaluation_event(study, VALIDATION), steps=planned_evaluations(study)[VALIDATION])


def _whole_run(study: Study, sigma: float) -> SampledGaussian:
    return replace(round_event(study, sigma), steps=planned_steps(study))
