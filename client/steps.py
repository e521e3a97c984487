"""What a hospital computes for each task: a vector of integers to be masked, and the little it may show in the clear.

Pure but for reading the images: no ledger, no keys, no network. The caller has charged the ledger.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from torch import nn

from client.evaluation import look, own_figures
from client.images import Images, Split
from client.local_round import trained
from client.personal import make_personal
from client.privacy.release import as_words
from client.standing import standing_of
from client.survey import survey_of
from client.training.algorithms.base import Kept, Vector
from client.training.loop import step_private
from client.votes import Votes
from client.workbench import Prepared, Workbench
from shared.counts import count_plain
from shared.errors import SiteError
from shared.evaluated import model_digest
from shared.messages.shown import OwnFigures
from shared.messages.tasks import EvaluateTask, TrainTask
from shared.noisy_sum import mechanism_of, sum_plain
from shared.parameters import layout_of, to_vector
from shared.secagg.member import Plain
from shared.study import Study
from shared.survey import survey_plain
from shared.tasks.registry import kind_of
from shared.update import Codec


@dataclass(frozen=True)
class Outcome:
    """A step's result: `plain` is for the mask only; `figures` only if the policy allows; `kept` stays here, for the
    rounds to come (client/kept.py)."""

    plain: Plain
    figures: OwnFigures | None = None
    kept: Kept = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """What a plan asks beside its task: `round` of the run over `cohort` hospitals; `payload`, the task's digest; and
    what this hospital `kept` of the last round it was counted in."""

    round: int
    cohort: int
    payload: bytes
    kept: Kept = field(default_factory=dict)


@dataclass(frozen=True)
class Remembered:
    """What an evaluation needs of this hospital's own rounds before: what it `kept`, for its own model; its `votes`, if
    it has one, and the digest of the model that they compare with, empty for none. `judging` is given the whole own
    model."""

    kept: Kept = field(default_factory=dict)
    judging: Callable[[Vector], None] | None = None
    votes: Votes | None = None
    before: bytes = b""


def survey(study: Study, prepared: Prepared, smallest: int) -> Outcome:
    """Images by split, training images by label and by brightness, files left out by reason; counts that rest on fewer
    than `smallest` patients as 0."""
    return Outcome(survey_plain(survey_of(prepared.images, kind_of(study), prepared.counts.skipped, smallest)))


def train_round(study: Study, task: TrainTask, asked: Asked, bench: Workbench, *, seed: int) -> Outcome:
    """One round of local training, as the quantised vectors of norm at most `aggregation.update_norm`; or, with privacy
    of mode "distributed", one step, as the noisy sum of clipped gradients."""
    module = bench.network(study, task.weights)
    if study.privacy.mode == "distributed":
        return _step(study, task, asked, module, bench)
    made = trained(study, task, bench, module, round_=asked.round, kept=asked.kept, seed=seed)
    most, weight = study.federation.max_images, weight_of(study, bench.prepared(study).images)
    codec = Codec.of(study, cohort=asked.cohort, parameters=layout_of(module).moving, seed=asked.payload)
    return Outcome(codec.write(made.up, weight, most, scaled=made.scaled, steps=made.steps), kept=made.kept)


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


def evaluate(
    study: Study, task: EvaluateTask, bench: Workbench, *, show: bool, smallest: int, memory: Remembered
) -> Outcome:
    """Score one split, its counts noisy where the study asks; `show` adds this hospital's own figure in the clear."""
    module = bench.network(study, task.weights)
    if task.personal:
        make_personal(study, module, layout_of(module).part(to_vector(module)), memory.kept)
        if memory.judging is not None and memory.kept:
            memory.judging(to_vector(module))
    looked = look(study, module, bench.prepared(study).images, Split(task.split))
    found = looked.counts(smallest)
    judged = kind_of(study).judge(found.everybody)
    if memory.votes is not None:
        vote = memory.votes.on(model_digest(task.weights), standing_of(looked, judged.headline), memory.before)
        found = replace(found, harmful=vote.harmful, votes=vote.votes)
    return Outcome(count_plain(found.to_integers()), own_figures(judged) if show else None)
