"""What a plan must say of its step: of the study, the task and the cohort."""

from typing import Any, get_args

import pytest
from msgspec.structs import replace

from shared.errors import InputError
from shared.evaluated import evaluated_length
from shared.messages.tasks import AnyTask, EvaluateTask, SurveyTask, TrainTask, payload_digest
from shared.metrics import BinaryCounts
from shared.quantize import Quantizer
from shared.secagg.packing import Bits
from shared.secagg.plan import Terms
from shared.study import MINIMAL, Aggregation, Study, parse_study
from shared.survey import SURVEY_COUNTS
from shared.terms import terms
from shared.update import TRAIN_COUNTS, Codec
from shared.wire import pack, unpack
from tests.shared.secagg.rounds import WIDTHS

STUDY = parse_study(MINIMAL.replace("min_sites = 2", "min_sites = 5"))
#: of an evaluation, the sites' own count among them
EVALUATE_COUNTS = 1 + evaluated_length(STUDY)
TRAIN = TrainTask(weights=memoryview(b""), class_weights=(1, 1))
EVALUATE = EvaluateTask(weights=memoryview(b""), split=1)
PAYLOAD = payload_digest(b"task")


def study_with(**aggregation: Any) -> Study:
    return replace(STUDY, aggregation=Aggregation(**aggregation))


def terms_of(task: AnyTask = TRAIN, *, cohort: int = 5, parameters: int = 7, **aggregation: Any) -> Terms:
    return terms(study_with(**aggregation), task, PAYLOAD, cohort=cohort, parameters=parameters)


def test_the_terms_of_a_training_step() -> None:
    side = Codec(norm=10.0, bits=32, cohort=5, parameters=7, seed=PAYLOAD)
    assert terms_of() == Terms(
        step="train",
        payload=PAYLOAD,
        threshold=4,  # more than (5 + 1) / 2
        colluders=1,
        adversary="active",
        quantizer=pack(Quantizer(bound=10.0, sites=5, bits=32)),
        counts=6,
        length=7,
        bits=32,
    )
    assert side.length == 7


@pytest.mark.parametrize(
    ("task", "step", "counts"), [(EVALUATE, "evaluate", EVALUATE_COUNTS), (SurveyTask(), "survey", SURVEY_COUNTS + 2)]
)
@pytest.mark.parametrize("bits", [32, 12])
def test_the_terms_of_a_counting_step_have_no_vector_whatever_the_studys_bits(
    task: AnyTask, step: str, counts: int, bits: int
) -> None:
    found = terms_of(task, bits=bits)
    assert (found.step, found.counts, found.length, found.bits, found.quantizer) == (step, counts, 0, 32, b"")
    assert (found.threshold, found.colluders, found.adversary, found.payload) == (4, 1, "active", PAYLOAD)


@pytest.mark.parametrize("bits", WIDTHS)
def test_the_terms_hold_the_codecs_quantizer_and_length(bits: Bits) -> None:
    study = study_with(bits=bits, update_norm=2.5)
    found = terms(study, TRAIN, PAYLOAD, cohort=5, parameters=5000)
    side = Codec.of(study, cohort=5, parameters=5000, seed=PAYLOAD)
    assert (found.bits, found.counts, found.length) == (bits, TRAIN_COUNTS, side.length)
    assert unpack(Quantizer, found.quantizer) == side.quantizer
    assert (side.norm, side.bits, side.cohort, side.seed) == (2.5, bits, 5, PAYLOAD)


@pytest.mark.parametrize(
    ("aggregation", "cohort", "expected"),
    [
        ({}, 5, (4, 1, "active")),
        ({"colluders": 0}, 5, (3, 0, "active")),
        ({"colluders": 0, "threshold": 1}, 5, (5, 0, "active")),
        ({"colluders": 3}, 20, (12, 3, "active")),
        ({"adversary": "semi-honest"}, 200, (120, 1, "semi-honest")),
    ],
)
def test_the_terms_follow_the_study(aggregation: dict[str, Any], cohort: int, expected: tuple[object, ...]) -> None:
    found = terms_of(cohort=cohort, **aggregation)
    assert (found.threshold, found.colluders, found.adversary) == expected


def test_two_of_the_same_study_and_task_derive_the_same_terms_and_another_payload_others() -> None:
    study = study_with(bits=12)
    one, again, other = (
        terms(study, TRAIN, payload, cohort=5, parameters=64) for payload in (PAYLOAD, PAYLOAD, bytes(32))
    )
    assert one == again
    assert replace(other, payload=PAYLOAD) == one  # the rotation's seed is the payload, and not said twice


def test_every_width_of_a_study_can_be_planned() -> None:
    assert set(get_args(Aggregation.__annotations__["bits"])) == set(WIDTHS)


def test_an_evaluation_has_the_counts_announced() -> None:
    assert EVALUATE_COUNTS == 1 + BinaryCounts.LENGTH + 2 > 2 * 512  # no subgroups; the votes


@pytest.mark.parametrize(("bits", "most"), [(10, 511), (12, 2047), (16, 32767)])
def test_a_cohort_that_the_bits_do_not_hold_cannot_be_planned(bits: Bits, most: int) -> None:
    with pytest.raises(InputError, match=r"aggregation\.bits"):
        terms_of(cohort=most + 1, bits=bits)
