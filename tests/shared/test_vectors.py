import numpy as np
import pytest

from shared.errors import OperatorError
from shared.messages import EvaluateTask, SurveyTask, TrainTask
from shared.quantize import Quantizer
from shared.reasons import Reason
from shared.vectors import (
    Survey,
    count_vector,
    read_counts,
    read_survey,
    read_train,
    survey_vector,
    train_vector,
    vector_length,
)

QUANTIZER = Quantizer(bound=4.0, sites=3)
WEIGHTS = memoryview(b"")


def test_training_vectors_sum_to_the_weighted_mean() -> None:
    one = train_vector(QUANTIZER, np.array([1, -2], np.float32), 10, 40, scaled=False)
    two = train_vector(QUANTIZER, np.array([3, 2], np.float32), 30, 40, scaled=True)
    found = read_train(QUANTIZER, one + two, 2, 40)
    assert (found.sites, found.scaled_down, found.weight) == (2, 1, 40)
    assert found.mean == pytest.approx([2.5, 1.0], abs=1e-5)


def test_a_sum_over_another_number_of_sites_is_found() -> None:
    one = train_vector(QUANTIZER, np.ones(2, np.float32), 10, 40, scaled=False)
    with pytest.raises(OperatorError, match="2 sites in its first slot, got 1"):
        read_train(QUANTIZER, one, 2, 40)


@pytest.mark.parametrize("weight", [0, 41, 2**32 - 1])
def test_a_weight_over_the_public_maximum_is_found(weight: int) -> None:
    vector = train_vector(QUANTIZER, np.ones(2, np.float32), 10, 40, scaled=False)
    vector[2] = weight
    with pytest.raises(OperatorError, match="weight from 1 to 40"):
        read_train(QUANTIZER, vector, 1, 40)


def test_counts_of_many_sites_sum_exactly() -> None:
    values = [0, 1, 2**32 - 1, 2**62]
    total = sum((count_vector(values) for _ in range(200)), np.zeros(17, np.uint32))
    assert read_counts(total, 200) == [200 * value for value in values]


def test_surveys_sum_by_place() -> None:
    one = Survey((5, 2, 3), (4, 1), {Reason.TRUNCATED: 2})
    two = Survey((1, 0, 0), (0, 1), {Reason.CHANGED: 7})
    found = read_survey(survey_vector(one) + survey_vector(two), 2)
    assert (found.splits, found.labels) == ((6, 2, 3), (4, 2))
    assert {r: n for r, n in found.skipped.items() if n} == {Reason.TRUNCATED: 2, Reason.CHANGED: 7}


def test_the_announced_length_is_the_vectors() -> None:
    survey = Survey((0, 0, 0), (0, 0), {})
    assert vector_length(2, SurveyTask()) == len(survey_vector(survey))
    train = train_vector(QUANTIZER, np.zeros(7, np.float32), 1, 1, scaled=False)
    assert vector_length(7, TrainTask(weights=WEIGHTS, class_weights=(1, 1))) == len(train)
    assert vector_length(7, EvaluateTask(weights=WEIGHTS, split=1)) > 2 * 512 * 4
