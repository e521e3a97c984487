"""Why an archive holds nothing that a study can use, in one message: what became of its files, what the study asks for,
and what to do.

Guarantees: the advice is about the images, if there are any, not about the other files that lie beside them.
"""

from collections.abc import Mapping
from pathlib import Path

from client.dicom.reasons import Reason
from shared.errors import InputError
from shared.study import Study
from shared.tasks.base import Target

#: What is beside the images in any archive.
_BESIDE = (Reason.NOT_DICOM, Reason.NO_PIXELS, Reason.SPECIAL_FILE, Reason.DUPLICATE, Reason.LOCALIZER)
#: Where slices make no volume.
_NO_VOLUME = (
    Reason.NO_GEOMETRY,
    Reason.TOO_FEW_SLICES,
    Reason.MISSING_SLICES,
    Reason.SAME_POSITION,
    Reason.UNEVEN_SLICES,
)
#: What must be known of an image, as a source says it.
_KNOWN: Mapping[Target, str] = {
    "value": "a number in the column of its label",
    "mask": "a file in the column mask that is there and as large as the image, or the word none",
    "boxes": "boxes in the column boxes, written as docs/dicom.md says, or a mask that is there",
}


def nothing_usable(
    archive: Path, files: int, skipped: Mapping[Reason, int], study: Study, target: Target
) -> InputError:
    """The refusal of `archive`, all of whose `files` were `skipped`."""
    left_out = ", ".join(f"{number} {reason.explain}" for reason, number in skipped.items() if number)
    return InputError(
        f"archive {archive}",
        expected="at least one image that the study can use",
        got=f"none of {files} files: {left_out}" if files else "no file at all",
        do=_advice(_telling(skipped), study, target) if files else "Check the path.",
    )


def _telling(skipped: Mapping[Reason, int]) -> Reason:
    """The reason that most images have, or else most files."""
    images = [reason for reason in Reason if skipped.get(reason) and reason not in _BESIDE]
    return max(images or Reason, key=lambda reason: skipped.get(reason, 0))


def _advice(reason: Reason, study: Study, target: Target) -> str:
    labels = ", ".join(f'"{label}"' for label in study.task.labels)
    if reason is Reason.WRONG_MODALITY:
        asked = ", ".join(study.input.modalities)
        return f"The study asks for {asked}: give another archive, or add this one's to input.modalities."
    if reason is Reason.LABEL_NOT_IN_STUDY:
        return f"The study asks for {labels}: spell them so in the label file, or task.labels as there."
    if reason is Reason.UNUSABLE_LABEL and target in _KNOWN:
        return f"The study needs {_KNOWN[target]}, for {labels}."
    if reason in _NO_VOLUME and study.input.kind == "volume":
        return f'{reason.advice} Or ask for images (input.kind = "image").'
    return reason.advice
