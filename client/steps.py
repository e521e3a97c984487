"""What a hospital computes for each task: a vector of integers to be masked, and the little it may show in the clear.

Pure but for reading the images: no ledger, no keys, no network. The caller has charged the ledger.
"""

from dataclasses import dataclass

import numpy as np
from torch import nn

from client.evaluation import look, own_figures
from client.images import Images, Split
from client.privacy.release import as_words
from client.survey import survey_of
from client.training.loop import step_private, train, train_private
from client.workbench import Prepared, Workbench
from shared.accounting import noise_multiplier
from shared.errors import PeerError, SiteError
from shared.messages import EvaluateTask, OwnFigures, TrainTask
from shared.parameters import layout_of, to_vector
from shared.secagg.member import Plain
from shared.study import Study
from shared.tasks.registry import kind_of
from shared.vectors import Codec, count_plain, mechanism_of, sum_plain, survey_plain


@dataclass(frozen=True)
class Outcome:
    """A step's result: `plain` is for the mask only; `figures` only if the policy allows."""

    plain: Plain
    figures: OwnFigures | None = None


@dataclass(frozen=True)
class Asked:
    """What a plan asks beside its task: `round` of the run over `cohort` hospitals; `payload`, the task's digest."""

    round: int
    cohort: int
    payload: bytes


def survey(study: Study, prepared: Prepared, smallest: int) -> Outcome:
    """Images by split, training images by label and by brightness, files left out by reason; counts that rest on fewer
    than `smallest` patients as 0."""
    return Outcome(survey_plain(survey_of(prepared.images, kind_of(study), prepared.counts.skipped, smallest)))


def train_round(study: Study, task: TrainTask, asked: Asked, bench: Workbench, *, seed: int) -> Outcome:
    """One round of local training, as the quantised update of norm at most `aggregation.update_norm`; or, with privacy
    of mode "distributed", one step, as the noisy sum of clipped gradients."""
    module = bench.network(study, task.weights)
    if study.privacy.mode == "distributed":
        return _step(study, task, asked, module, bench)
    layout = layout_of(module)
    before = layout.part(to_vector(module))
    _train(study, task, asked.round, module, bench, seed=seed)
    update = layout.part(to_vector(module)) - before
    norm = float(np.linalg.norm(update.astype(np.float64)))
    if not np.isfinite(norm):
        raise SiteError("local training", expected="finite weights", got="nan or infinity", do="Lower learning_rate.")
    scaled = norm > study.aggregation.update_norm
    if scaled:
        update *= np.float32(study.aggregation.update_norm / norm * (1 - 1e-6))
    most, weight = study.federation.max_images, weight_of(study, bench.prepared(study).images)
    codec = Codec.of(study, cohort=asked.cohort, parameters=layout.moving, seed=asked.payload)
    return Outcome(codec.write(update, weight, most, scaled=scaled))


def _train(study: Study, task: TrainTask, round_: int, module: nn.Module, bench: Workbench, *, seed: int) -> None:
    sigma = noise_multiplier(study)
    if sigma is None:
        images = bench.prepared(study).images
        train(module, images, study, round=round_, class_weights=task.class_weights, seed=seed)
        return
    trained, images, choice = bench.private(study, task.class_weights)
    train_private(
        trained,
        images,
        study,
        round=round_,
        sigma=sigma,
        class_weights=task.class_weights,
        choice=choice,
        release=bench.release,
    )


def _step(study: Study, task: TrainTask, asked: Asked, module: nn.Module, bench: Workbench) -> Outcome:
    mechanism = mechanism_of(study, clip=task.clip or 0.0, cohort=asked.cohort, parameters=layout_of(module).moving)
    trained, images, choice = bench.private(study, task.class_weights)
    integers = step_private(
        trained,
        images,
        study,
        mechanism,
        class_weights=task.class_weights,
        choice=choice,
        release=bench.release,
    )
    return Outcome(sum_plain(as_words(integers)))


def weight_of(study: Study, images: Images) -> int:
    """Training images; with privacy the same public constant at every hospital, since the count is private."""
    most = study.federation.max_images
    if study.privacy.mode != "off":
        return most
    count = len(images.rows(Split.TRAIN))
    if count > most:
        raise SiteError(
            "training images",
            expected=f"at most federation.max_images = {most}",
            got=f"{count}",
            do="Ask the consortium to raise it.",
        )
    return count


def evaluate(study: Study, task: EvaluateTask, bench: Workbench, *, show: bool, smallest: int) -> Outcome:
    """Score one split, its counts noisy where the study asks; `show` adds this hospital's own figure in the clear."""
    if task.split not in (Split.VALIDATION, Split.TEST):
        raise PeerError("evaluate task", expected="the validation or the test split", got=str(task.split))
    module = bench.network(study, task.weights)
    found = look(study, module, bench.prepared(study).images, Split(task.split)).counts(smallest)
    figures = own_figures(kind_of(study).judge(found.everybody)) if show else None
    return Outcome(count_plain(found.to_integers()), figures)
