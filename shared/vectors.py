"""The masked vectors: what each integer slot of a step's vector means. Both sides agree by calling the same function.

Every vector starts with the slot `1`, which must sum to the number of survivors: a cheap check that unmasking worked.
After it, a training vector holds [scaled down 0/1, weight, weight × update]; a counting vector holds 64-bit integers in
four slots each. Sums of n vectors are read with the same functions. uint32, wrapping.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.errors import OperatorError
from shared.messages import AnyTask, EvaluateTask, TrainTask
from shared.metrics import BinaryCounts
from shared.quantize import Quantizer, decode_counts, encode_counts
from shared.reasons import Reason
from shared.study import Study

Vector = NDArray[np.uint32]

#: Slots of a training vector before the update.
TRAIN_HEADER = 3
#: One integer travels in so many slots.
SLOTS = 4


def quantizer(study: Study, cohort: int) -> Quantizer:
    """The quantiser of a training step over `cohort` sites: no sum of theirs can wrap."""
    return Quantizer(bound=study.aggregation.update_norm, sites=cohort)


@dataclass(frozen=True)
class Update:
    """A training vector, of one site or summed. `weight` in images (or public shares, with privacy);
    `mean` float32 [d] is Σ weight × update ÷ Σ weight."""

    sites: int
    scaled_down: int
    weight: int
    mean: NDArray[np.float32]


def train_vector(quantize: Quantizer, update: NDArray[np.float32], weight: int, most: int, *, scaled: bool) -> Vector:
    """One site's training vector; `weight` ≤ `most` images."""
    vector = np.empty(TRAIN_HEADER + update.size, np.uint32)
    vector[:TRAIN_HEADER] = (1, int(scaled), weight)
    quantize.encode(update, weight / most, out=vector[TRAIN_HEADER:])
    return vector


def read_train(quantize: Quantizer, total: Vector, survivors: int, most: int) -> Update:
    """The weighted mean update in the unmasked sum `total`."""
    _check_sites(total, survivors)
    weight = int(total[2])
    if not 0 < weight <= survivors * most:
        raise OperatorError(
            "unmasked sum",
            expected=f"a weight from 1 to {survivors * most}",
            got=str(weight),
            do="Discard the round: a site sent a weight over the study's maximum.",
        )
    mean = quantize.decode(total[TRAIN_HEADER:])
    mean *= np.float32(most / weight)
    return Update(survivors, int(total[1]), weight, mean)


def count_length(integers: int) -> int:
    """Slots of a counting vector of so many integers."""
    return 1 + SLOTS * integers


def count_vector(values: list[int]) -> Vector:
    """One site's counting vector."""
    return np.concatenate([np.ones(1, np.uint32), encode_counts(values)])


def read_counts(total: Vector, survivors: int) -> list[int]:
    """The summed integers in the unmasked sum `total`."""
    _check_sites(total, survivors)
    return decode_counts(total[1:])


def _check_sites(total: Vector, survivors: int) -> None:
    if int(total[0]) != survivors:
        raise OperatorError(
            "unmasked sum",
            expected=f"{survivors} sites in its first slot",
            got=str(int(total[0])),
            do="A site masked for another plan or sent a malformed vector; the round is discarded.",
        )


#: Slots of the vector of one evaluation, and of the survey.
EVALUATE_LENGTH = count_length(BinaryCounts.LENGTH)
SPLITS = ("train", "validation", "test")
SURVEY_LENGTH = count_length(len(SPLITS) + 2 + len(Reason))


@dataclass(frozen=True)
class Survey:
    """What hospitals hold, of one site or summed: images by split, training images by label, files left out."""

    splits: tuple[int, ...]
    labels: tuple[int, ...]
    skipped: Mapping[Reason, int]


def survey_vector(survey: Survey) -> Vector:
    """One site's survey as a counting vector."""
    skipped = [survey.skipped.get(reason, 0) for reason in Reason]
    return count_vector([*survey.splits, *survey.labels, *skipped])


def read_survey(total: Vector, survivors: int) -> Survey:
    """The summed survey."""
    values = read_counts(total, survivors)
    skipped = dict(zip(Reason, values[len(SPLITS) + 2 :], strict=True))
    return Survey(tuple(values[:3]), tuple(values[3:5]), skipped)


def vector_length(parameters: int, task: AnyTask) -> int:
    """Slots of the vector that answers `task` for a model of so many parameters."""
    if isinstance(task, TrainTask):
        return TRAIN_HEADER + parameters
    return EVALUATE_LENGTH if isinstance(task, EvaluateTask) else SURVEY_LENGTH
