"""What the DICOM room hands to the training room: tensors, what is to be learnt of them, and whose they are.

Nothing else crosses. Patients are row groups: `patient[i]` numbers the patient of image i, and `keys[p]` is that
patient's keyed hash, known to this hospital only (it indexes the ledger; it is never sent).
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Split(IntEnum):
    """Which part of the study a patient belongs to."""

    TRAIN = 0
    VALIDATION = 1
    TEST = 2


@dataclass(frozen=True)
class Images:
    """`pixels` float32 [M, C, H, W], of volumes [M, C, D, H, W], in [0, 1], possibly memory-mapped and shared with
    other studies; `target` [N, …]: what is known of image i, as the study's kind of task says (shared/tasks/base.py),
    possibly memory-mapped; `patient` int64 [N], index into `keys`; `split` int64 [P], a Split per patient; `place`
    int64 [N]: where in `pixels` image i lies, by default at i; `groups` bool [N, G]: which subgroups of the study
    (shared/subgroups.py) image i is in, None without."""

    pixels: NDArray[np.float32]
    target: NDArray[np.generic]
    patient: NDArray[np.int64]
    keys: tuple[bytes, ...]
    split: NDArray[np.int64]
    place: NDArray[np.int64] | None = None
    groups: NDArray[np.bool_] | None = None

    def tensors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """A copy of the images `rows`, float32 [len(rows), C, …], in that order."""
        return self.pixels[rows if self.place is None else self.place[rows]]

    def rows(self, split: Split) -> NDArray[np.int64]:
        """Indices of the images of `split`, in order."""
        return np.flatnonzero(self.split[self.patient] == split)

    def patients(self, split: Split) -> NDArray[np.int64]:
        """Indices of the patients of `split` that have at least one image, in order."""
        present = np.zeros(len(self.keys), dtype=bool)
        present[self.patient] = True
        return np.flatnonzero(present & (self.split == split))

    def by_patient(self, split: Split) -> tuple[NDArray[np.int64], ...]:
        """Rows of each patient of `split`, in the order of `patients`."""
        rows = self.rows(split)
        order = rows[np.argsort(self.patient[rows], kind="stable")]
        owners = self.patient[order]
        starts = np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]]) if len(order) else np.array([], int)
        return tuple(np.split(order, starts[1:])) if len(order) else ()
