"""What a plan must say of its step, derived by both ends from the study, the task and the cohort."""

from typing import Literal

from shared.evaluated import evaluated_length
from shared.messages.tasks import STEP_OF, AnyTask, EvaluateTask, TrainTask
from shared.noisy_sum import mechanism_of
from shared.secagg.plan import Terms, threshold_for
from shared.study import Study
from shared.survey import SURVEY_COUNTS
from shared.update import TRAIN_COUNTS, Codec
from shared.wire import pack


def terms(study: Study, task: AnyTask, payload: bytes, *, cohort: int, parameters: int) -> Terms:
    """What a plan must say for `task`, whose packed bytes have the digest `payload`, over a cohort of so many sites."""
    aggregation = study.aggregation
    quantizer, length = b"", 0
    counts = SURVEY_COUNTS + len(study.task.labels)
    if isinstance(task, EvaluateTask):
        counts = 1 + evaluated_length(study)
    if isinstance(task, TrainTask) and study.privacy.mode == "distributed":
        mechanism = mechanism_of(study, clip=task.clip or 0.0, cohort=cohort, parameters=parameters)
        quantizer, counts, length = pack(mechanism), 1, mechanism.entries
    elif isinstance(task, TrainTask):
        codec = Codec.of(study, cohort=cohort, parameters=parameters, seed=payload)
        quantizer, counts, length = pack(codec.quantizer), TRAIN_COUNTS, codec.length
    return Terms(
        step=STEP_OF[type(task)],
        payload=payload,
        threshold=threshold_for(cohort, aggregation.threshold, aggregation.colluders),
        colluders=aggregation.colluders,
        adversary=_adversary(study, task),
        quantizer=quantizer,
        counts=counts,
        length=length,
        bits=aggregation.bits if isinstance(task, TrainTask) else 32,
    )


def _adversary(study: Study, task: AnyTask) -> Literal["active", "semi-honest", "none"]:
    """Without masks travel updates alone: what is counted of patients is summed under the stronger ones."""
    asked = study.aggregation.adversary
    return "active" if asked == "none" and not isinstance(task, TrainTask) else asked
