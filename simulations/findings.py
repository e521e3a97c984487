"""What is known of a simulated patient's images: the row of labels.csv, and the mask it names.

Guarantees: an image, its mask and its boxes are of one pose; what a pose turned out of the image is in neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from client.dicom.labels.mask_table import NONE
from simulations.anatomy import Anatomy, Nodule
from simulations.headers import Encounter
from simulations.profiles import Profile

LABELS = ("clear", "nodule")
#: Of labels.csv. Nodules: in the patient's left lung, right lung; diameter of the largest in mm, 0 without.
COLUMNS = (
    "sop_instance_uid", "label", "sex", "age", "nodules", "diameter_mm", "nodule left", "nodule right", "mask", "boxes"
)  # fmt: skip
MASKS = "masks"


@dataclass(frozen=True)
class Visit(Encounter):
    """One study of one patient with radiographs: with which nodules."""

    anatomy: Anatomy
    nodules: tuple[Nodule, ...]
    images: int


def known(profile: Profile, visit: Visit) -> tuple[str | int, ...]:
    """Of an image: label to nodules by side."""
    width = profile.matrix[1] * profile.spacing_mm[1]
    diameter = max((nodule.radius * width for nodule in visit.nodules), default=0)
    left = sum(nodule.x > 0 for nodule in visit.nodules)  # the patient's left is on the image's right
    sides = int(left > 0), int(left < len(visit.nodules))
    label = LABELS[bool(visit.nodules)]
    return label, visit.sex, visit.age, len(visit.nodules), f"{diameter:.1f}", *sides


def write_drawn(archive: Path, name: str, seen: Sequence[NDArray[np.bool_]]) -> tuple[str, str]:
    """Draw where nodules are `seen` into the file `name` among the masks. Returns the cells of mask and boxes."""
    seen = [one for one in seen if one.any()]  # a pose may turn one out of the image
    if not seen:
        return NONE, NONE
    folder = archive / MASKS
    folder.mkdir(exist_ok=True)
    drawn: NDArray[np.uint8] = np.where(np.any(seen, axis=0), np.uint8(255), np.uint8(0))
    PIL.Image.fromarray(drawn).save(folder / name, "PNG")
    return f"{MASKS}/{name}", "|".join(map(_box, seen))


def _box(seen: NDArray[np.bool_]) -> str:
    """Its edges, as client/dicom/targets/boxes.py reads them."""
    rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
    return f"{rows[0]} {columns[0]} {rows[-1] + 1} {columns[-1] + 1} {LABELS[1]}"
