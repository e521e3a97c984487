import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from client.dicom.splits import split_of
from client.images import Split
from shared.study import Evaluation

KEY = b"k" * 32
PATIENTS = [bytes([n % 256, n // 256]) * 16 for n in range(4000)]

patients = st.binary(min_size=32, max_size=32)


@given(patients, st.floats(0.05, 0.45), st.floats(0.05, 0.45))
def test_parts_follow_from_the_patient_alone(patient: bytes, test: float, validation: float) -> None:
    part = split_of(KEY, patient, Evaluation(test=test, validation=validation))
    assert part == split_of(KEY, patient, Evaluation(test=test, validation=validation))
    if part is Split.TEST:  # a larger share keeps who was in it
        assert split_of(KEY, patient, Evaluation(test=0.89, validation=0.05)) is Split.TEST


@given(patients, st.integers(2, 20), st.floats(0.01, 0.89))
def test_every_patient_is_tested_in_exactly_one_fold(patient: bytes, folds: int, validation: float) -> None:
    held = Evaluation(test=0.1, validation=validation, folds=folds)
    parts = [split_of(KEY, patient, replace(held, fold=fold)) for fold in range(folds)]
    assert parts.count(Split.TEST) == 1
    assert all(part in Split for part in parts)


@given(patients, st.integers(2, 20), st.floats(0.01, 0.8))
def test_what_is_left_for_validation_does_not_depend_on_the_share_of_the_test(
    patient: bytes, folds: int, validation: float
) -> None:
    one, other = (Evaluation(test=test, validation=validation, folds=folds) for test in (0.05, 0.15))
    assert split_of(KEY, patient, one) == split_of(KEY, patient, other)


@pytest.mark.parametrize("fold", range(5))
def test_folds_have_the_asked_sizes(fold: int) -> None:
    """A fifth is tested; of the rest, 0.8, a quarter validates."""
    held = Evaluation(validation=0.25, folds=5, fold=fold)
    counts = np.bincount([split_of(KEY, patient, held) for patient in PATIENTS]) / len(PATIENTS)
    assert counts == pytest.approx([0.60, 0.20, 0.20], abs=0.03)


def test_each_fold_validates_on_others() -> None:
    found = [
        {p for p in PATIENTS if split_of(KEY, p, Evaluation(folds=5, fold=fold)) is Split.VALIDATION}
        for fold in range(5)
    ]
    assert not any(one & other for i, one in enumerate(found) for other in found[:i])


def test_parts_have_the_asked_sizes() -> None:
    parts = [split_of(KEY, patient, Evaluation(test=0.25, validation=0.15)) for patient in PATIENTS]
    counts = np.bincount(parts) / len(parts)
    assert counts == pytest.approx([0.60, 0.15, 0.25], abs=0.03)


def test_a_split_of_before_is_the_same_today() -> None:
    """Patients must not move between parts when Konsil is upgraded."""
    parts = [split_of(KEY, bytes([n]) * 32, Evaluation(test=0.25, validation=0.25)).name[:2] for n in range(12)]
    assert " ".join(parts) == "TE TR TR TR VA VA TR VA TR TR TR TE"
