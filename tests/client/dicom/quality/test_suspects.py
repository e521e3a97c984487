"""What looks wrong, counted from views made by hand."""

from typing import Any

from msgspec.structs import replace

from client.dicom.quality.facts import Facts
from client.dicom.quality.suspects import suspects
from client.dicom.quality.view import View
from client.dicom.reasons import Reason

PLAIN = View(
    points=(0.0, 1.0),
    black_border=0.0,
    white_border=0.0,
    brightness=0.5,
    corners=0.5,
    contrast=0.1,
    markers=0,
    text=False,
    constant=False,
    saturated=0.0,
    clipped=0.0,
    inverted=False,
    digest=b"",
)


def facts(patient: str, *labels: str) -> Facts:
    return Facts(sop=b"o", series=b"s", patient=patient.encode(), labels=labels, modality="US")


def view(number: int, **change: Any) -> View:
    return replace(PLAIN, digest=bytes([number]), **change)


def test_each_kind_is_counted() -> None:
    found = suspects(
        [
            (facts("a"), view(1)),
            (facts("b"), view(2, text=True)),
            (facts("c"), view(3, constant=True, saturated=1.0, clipped=0.0)),
            (facts("d"), view(4, saturated=0.11)),
            (facts("e"), view(5, clipped=0.91)),
            (facts("f"), view(6, inverted=True)),
            (facts("g"), Reason.DECODE_FAILED),
        ]
    )
    assert (found.looked, found.failed) == (6, {Reason.DECODE_FAILED: 1})
    assert found.text == {"US": 1}
    assert (found.constant, found.saturated, found.clipped, found.inverted) == (1, 2, 1, 1)
    assert (found.copies, found.copied, found.contradictions) == (0, 0, 0)


def test_equal_pixels_of_one_patient_are_no_copies() -> None:
    assert suspects([(facts("a"), view(1)), (facts("a"), view(1))]).copies == 0


def test_equal_pixels_of_two_patients_are() -> None:
    found = suspects(
        [
            (facts("a", "mass"), view(1)),
            (facts("b", "mass"), view(1)),
            (facts("b", "mass"), view(1)),
            (facts("c", "mass"), view(2)),
            (facts("d", "clear"), view(2)),
            (facts("e"), view(3)),
        ]
    )
    assert (found.copies, found.copied, found.contradictions) == (5, 2, 1)


def test_images_of_one_value_are_all_alike_and_no_copies() -> None:
    assert suspects([(facts("a"), view(1, constant=True)), (facts("b"), view(1, constant=True))]).copies == 0


def test_nothing_looked_at_is_nothing_suspected() -> None:
    assert suspects([]).looked == 0
