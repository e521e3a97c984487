"""One study whole, from text and files, and what names it."""

import re
from pathlib import Path

from shared.study.aggregation import Aggregation
from shared.study.evaluation import Evaluation
from shared.study.federation import Federation
from shared.study.model import Model
from shared.study.privacy import Privacy
from shared.study.task import Task
from shared.study.tensor import Input
from shared.study.training import Training
from shared.study.words import Name
from shared.toml import parse_toml, read_toml
from shared.wire import Record, digest

CANONICAL = "canonical/v1"
STUDY_LABEL = "konsil/study/v1"
SPEC_LABEL = "konsil/canonical/v1"


class Study(Record, frozen=True):
    """One study, whole."""

    name: Name
    task: Task
    input: Input
    model: Model
    training: Training
    federation: Federation
    privacy: Privacy
    aggregation: Aggregation = Aggregation()
    evaluation: Evaluation = Evaluation()

    def __post_init__(self) -> None:
        if self.aggregation.colluders >= self.federation.min_sites:
            raise ValueError("aggregation.colluders below federation.min_sites: somebody must be honest")
        if self.input.kind == "volume" and self.evaluation.views > 2:
            raise ValueError('evaluation.views of 1 or 2 with input.kind = "volume"')
        _check_sides(self.task, self.training, self.evaluation)
        weights = self.training.class_weights
        if not isinstance(weights, str) and len(weights) != len(self.task.labels):
            raise ValueError("training.class_weights: one number for each of task.labels")
        if self.privacy.mode == "off":
            return
        if self.training.local_steps is None:
            raise ValueError("training.local_steps with privacy: an epoch's length would tell the patient count")
        if self.training.class_weights == "balanced" or self.training.sampling == "balanced":
            raise ValueError(
                'training.class_weights "equal" or numbers, sampling "patients" with privacy: counts are private'
            )
        if self.privacy.mode == "distributed":
            if self.training.local_steps != 1:
                raise ValueError('training.local_steps = 1 with privacy.mode = "distributed": a round is one step')
            if self.aggregation.bits != 32:
                raise ValueError(
                    'aggregation.bits = 32 with privacy.mode = "distributed": a sum and its noise need them'
                )


def _check_sides(task: Task, training: Training, evaluation: Evaluation) -> None:
    """Raises ValueError where an image would be mirrored or turned, and a label keep the side it says."""
    paired = {label for pair in task.mirrored for label in pair}
    sided = set(filter(_says_a_side, task.labels))
    if (sided or paired) and "quarter" in training.augmentation:
        raise ValueError('training.augmentation without "quarter" where labels say a side: what is turned has none')
    if (sided or paired) and evaluation.views == 8:
        raise ValueError("evaluation.views of 1 or 2 where labels say a side: what is turned has none")
    if sided - paired and ("flip" in training.augmentation or evaluation.views == 2):
        some = ", ".join(label for label in task.labels if label in sided - paired)
        raise ValueError(
            f'task.mirrored with training.augmentation "flip" or two views: some labels say left or right ({some})'
        )


def _says_a_side(label: str) -> bool:
    return len({"left", "right"} & set(re.findall("[a-z]+", label.lower()))) == 1


def parse_study(text: str, source: str = "study.toml") -> Study:
    """A study from TOML text. Raises InputError naming the key."""
    return parse_toml(Study, text, source)


def read_study(path: Path) -> Study:
    """A study from a file. Raises InputError naming the file and key."""
    return read_toml(Study, path)


def study_hash(study: Study) -> bytes:
    """32 bytes that change whenever any value of the study changes, or what its images become (DICOM.md §8): a hospital
    whose Konsil makes other tensors of the same files joins another study, and is refused."""
    return digest(STUDY_LABEL, study, spec_hash(study.input))


def spec_hash(spec: Input) -> bytes:
    """32 bytes naming the canonical tensor: the version of the rules and every parameter of `spec`."""
    return digest(SPEC_LABEL + "/" + CANONICAL, spec)


#: The shortest study that says everything it must.
MINIMAL = """
name = "minimal"
[task]
labels = ["clear", "nodule"]
[input]
modalities = ["DX"]
size = [32, 32]
[model]
name = "cnn"
[training]
rounds = 2
batch = 8
local_steps = 2
learning_rate = 0.1
[federation]
min_sites = 2
[privacy]
mode = "off"
"""
