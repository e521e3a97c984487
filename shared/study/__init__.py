"""The study file: what the consortium asks, hashed, signed, and shown to hospitals before they agree.

Guarantees: a `Study` is complete and consistent, frozen, and two equal studies have equal hashes whatever
their comments and key order. Unknown keys are refused by name. No word in it steers a terminal or
holds a line end. Sizes are rows × columns in pixels, times in seconds, distances in mm.

    >>> study = parse_study(MINIMAL)
    >>> study.training.rounds
    2
"""

from shared.study.aggregation import Aggregation
from shared.study.evaluation import AGES, Evaluation
from shared.study.federation import Federation
from shared.study.model import Model
from shared.study.privacy import Privacy
from shared.study.task import Task
from shared.study.tensor import Input
from shared.study.training import Augmentation, Training
from shared.study.whole import (
    MINIMAL,
    STUDY_LABEL,
    Study,
    parse_study,
    read_study,
    spec_hash,
    study_hash,
)

__all__ = [
    "AGES",
    "MINIMAL",
    "STUDY_LABEL",
    "Aggregation",
    "Augmentation",
    "Evaluation",
    "Federation",
    "Input",
    "Model",
    "Privacy",
    "Study",
    "Task",
    "Training",
    "parse_study",
    "read_study",
    "spec_hash",
    "study_hash",
]
