"""What a step may ask of a hospital, beside its plan: the study's rounds and weights, and what two sums may not tell.

Pure: raises PeerError for what the study does not ask, and names what a plan's sum is about.
"""

import numpy as np

from client.differences import NOISY, Topic
from client.images import Split
from shared.algorithms.registry import algorithm_of
from shared.clipping import is_near
from shared.errors import PeerError
from shared.evaluated import model_digest
from shared.messages.tasks import AnyTask, EvaluateTask, SurveyTask, TrainTask
from shared.secagg.plan import Plan
from shared.study import Study


def check_round(study: Study, task: AnyTask, plan: Plan) -> None:
    """Raise PeerError for a round that the study does not have; the test comes after the last."""
    last = study.training.rounds
    first, last = {TrainTask: (1, last), EvaluateTask: (1, last + 1), SurveyTask: (0, last + 1)}[type(task)]
    if not first <= plan.round <= last:
        raise PeerError(f"{plan.step} task", expected=f"a round from {first} to {last}", got=str(plan.round))


def check_task(study: Study, task: TrainTask, parameters: int) -> None:
    """Raise PeerError for class weights not the study's, a clip that cannot have come of the study's, or weights that
    are not `parameters` finite numbers."""
    weights = study.training.class_weights
    public = (1.0,) * len(study.task.labels) if weights == "equal" else weights
    if public not in ("balanced", task.class_weights):
        raise PeerError("train task", expected=f"the study's class weights {public}", got=str(task.class_weights))
    _check_clip(study, task.clip)
    if len(task.weights) != 4 * parameters or not np.isfinite(np.frombuffer(task.weights, "<f4")).all():
        raise PeerError("weights", expected=f"{parameters} finite numbers", got=f"{len(task.weights)} bytes, or others")
    beside = algorithm_of(study).beside * parameters
    if len(task.beside) != 4 * beside or not np.isfinite(np.frombuffer(task.beside, "<f4")).all():
        raise PeerError("beside", expected=f"{beside} finite numbers", got=f"{len(task.beside)} bytes, or others")


def check_evaluation(study: Study, task: EvaluateTask) -> None:
    """Raise PeerError for a split that is trained on, for own models or a vote where the study has none."""
    if task.split not in (Split.VALIDATION, Split.TEST):
        raise PeerError("evaluate task", expected="the validation or the test split", got=str(task.split))
    if task.personal and not (study.federation.personal and task.split == Split.TEST):
        raise PeerError("evaluate task", expected="own models on the test split, by federation.personal", got="others")
    if task.before and not (study.federation.guard and task.split == Split.VALIDATION and not task.personal):
        raise PeerError("evaluate task", expected="a vote on the validation split, by federation.guard", got="another")


def _check_clip(study: Study, clip: float | None) -> None:
    """Only where it is adaptive does a step bring its own; the noise is scaled to it, so any clip is as private."""
    privacy, first = study.privacy, study.privacy.clip
    if privacy.mode != "distributed":
        right = clip is None
    elif privacy.clip_quantile is None:
        right = clip == first
    else:
        right = clip is not None and first is not None and is_near(clip, first)
    if not right:
        raise PeerError("train task", expected=f"a clip that follows from the study's {first}", got=str(clip))


def topic_of(study: Study, task: AnyTask, plan: Plan) -> Topic:
    """What two sums must not differ in. Private ones may: each was made with all the noise it needs, drawn anew.

    An evaluation is about its split and its model, whatever else is asked beside: what a vote compares with changes no
    count, and hospitals' own models are the common one until something was learnt.
    """
    noisy = isinstance(task, TrainTask) and study.privacy.mode != "off"
    if not isinstance(task, EvaluateTask):
        return Topic(f"{NOISY * noisy}{plan.step}", plan.payload)
    if study.evaluation.epsilon is not None:
        return Topic()
    return Topic(f"{plan.step} {task.split}", model_digest(task.weights))
