"""What is said of an archive that holds nothing for a study: the advice follows the images and the task."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from client.dicom.nothing_usable import nothing_usable
from client.dicom.reasons import Reason
from shared.study import MINIMAL, Study, parse_study
from shared.tasks.base import Target

PLAIN = parse_study(MINIMAL)
VOLUMES = replace(PLAIN, input=replace(PLAIN.input, kind="volume", size=(4, 8, 8), spacing=(1.0, 1.0, 1.0)))


def said(skipped: dict[Reason, int], study: Study = PLAIN, target: Target = "class") -> str:
    return str(nothing_usable(Path("archive"), sum(skipped.values()), skipped, study, target))


@pytest.mark.parametrize(
    ("reason", "study", "target", "advice"),
    [
        (Reason.WRONG_MODALITY, PLAIN, "class", "The study asks for DX: give another archive,"),
        (Reason.LABEL_NOT_IN_STUDY, PLAIN, "class", 'The study asks for "clear", "nodule": spell them so in'),
        (Reason.UNUSABLE_LABEL, PLAIN, "value", 'needs a number in the column of its label, for "clear", "nodule".'),
        (Reason.UNUSABLE_LABEL, PLAIN, "mask", "needs a file in the column mask that is there"),
        (Reason.UNUSABLE_LABEL, PLAIN, "boxes", "needs boxes in the column boxes"),
        (Reason.MISSING_SLICES, VOLUMES, "class", 'Or ask for images (input.kind = "image").'),
        (Reason.TRUNCATED, PLAIN, "class", Reason.TRUNCATED.advice),
    ],
)
def test_the_advice_is_about_what_the_study_asks(reason: Reason, study: Study, target: Target, advice: str) -> None:
    text = said({Reason.NOT_DICOM: 50, reason: 2}, study, target)
    assert f"none of 52 files: 50 {Reason.NOT_DICOM.explain}, 2 {reason.explain}." in text
    assert advice in text


def test_an_archive_of_other_files_is_told_so() -> None:
    assert Reason.NOT_DICOM.advice in said({Reason.NOT_DICOM: 3, Reason.DUPLICATE: 1})


def test_an_empty_folder_is_told_so() -> None:
    assert said({}).endswith("got no file at all. Check the path.")
