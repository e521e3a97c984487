"""What a step costs the patients it looks at: charged to the ledger, on disk, before the first of them is looked at.

Training costs the patients of the training split, whether a step draws them or not; an evaluation with noise costs
those it scores. Nothing here takes the coordinator's word: rates, noise and how many hospitals must be honest follow
from the study and from the plan's cohort, which secure aggregation holds.
"""

from client.images import Images, Split
from client.ledger import Ledger, Limits, Promise, Purpose, What
from shared.accounting import alone, evaluation_event, noise_multiplier, rdp_epsilon, round_event
from shared.messages.shown import Spent
from shared.messages.tasks import AnyTask, EvaluateTask, TrainTask
from shared.noisy_sum import honest_of
from shared.secagg.plan import Plan
from shared.study import Study
from shared.wire import digest


def charge(ledger: Ledger, study: Study, task: AnyTask, plan: Plan, images: Images, *, limits: Limits) -> bool:
    """Reserve what `task` spends; whether it spends anything. Raises RefusalError for the rule that it would break."""
    if isinstance(task, TrainTask) and study.privacy.mode != "off":
        sigma, privacy = noise_multiplier(study) or 0.0, study.privacy
        event, split = round_event(study, sigma, honest=honest_of(study, len(plan.cohort))), Split.TRAIN
        what: What = "train"
        promise = Promise(privacy.epsilon or 0.0, privacy.delta or 0.0)
    elif isinstance(task, EvaluateTask) and study.evaluation.epsilon is not None:
        event, split, what = evaluation_event(study, task.split), Split(task.split), "evaluate"
        promise = Promise(study.evaluation.epsilon, study.evaluation.delta or 0.0)
    else:
        return False
    exposed = [images.keys[patient] for patient in images.patients(split)] or [_nobody(split)]
    purpose = Purpose(plan.digest(), study.name, plan.study_hash, plan.run, plan.round, what)
    ledger.reserve(exposed, event, purpose, limits, promise)
    return True


def _nobody(split: Split) -> bytes:
    """Stands in for the patients of a split that has none: such a hospital refuses when any other would."""
    return digest("konsil/nobody/v1", bytes([split]))


def spent(ledger: Ledger, study: Study, plan: Plan, *, total: bool) -> Spent | None:
    """What the ledger says of the run, to be shown; None where it spends nothing. What the patients spent in `total`
    tells whether any of them was in another study: only by the policy's leave."""
    privacy, evaluation = study.privacy, study.evaluation
    if privacy.mode == "off" and evaluation.epsilon is None:
        return None
    trained = ledger.totals(plan.run)
    delta, honest = privacy.delta or 0.0, honest_of(study, len(plan.cohort))
    return Spent(
        steps=sum(event.steps for event in trained),
        epsilon_run=rdp_epsilon(trained, delta) if trained else 0.0,
        epsilon_total=ledger.epsilon(delta) if total and delta else None,
        delta=delta,
        noise_multiplier=noise_multiplier(study) or 0.0,
        honest=honest,
        epsilon_alone=rdp_epsilon(alone(trained), delta) if trained and honest > 1 else None,
        evaluation=_evaluated(ledger, plan.run, evaluation.delta),
    )


def _evaluated(ledger: Ledger, run: str, delta: float | None) -> float | None:
    """What the run's evaluations cost the held-out patient whom they cost most, without those of earlier runs."""
    return None if delta is None else ledger.epsilon(delta, run=run, what="evaluate")
