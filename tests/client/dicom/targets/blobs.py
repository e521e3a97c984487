"""A blob at a known place, drawn into images and into masks of every kind, so that it can be seen whether both end at
the same place."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset

from client.dicom.writing import derived_uid, write_object
from tests.client.dicom.geometry.series import image

Values = NDArray[np.uint8]


def blob(shape: Sequence[int], centre: Sequence[float], radius: Sequence[float]) -> NDArray[np.bool_]:
    """bool `shape`: an ellipse or ellipsoid, in indices."""
    places = np.meshgrid(*map(np.arange, shape), indexing="ij")
    away = sum(((place - c) / r) ** 2 for place, c, r in zip(places, centre, radius, strict=True))
    found: NDArray[np.bool_] = np.asarray(away) <= 1
    return found


def slices(drawn: NDArray[np.bool_], positions: Sequence[Sequence[float]], **values: Any) -> list[Dataset]:
    """CT slices [slices, rows, columns] at `positions`, 1000 where `drawn`, 0 elsewhere, 0.5 mm rows and columns."""
    made = []
    for number, (plane, position) in enumerate(zip(drawn, positions, strict=True), start=1):
        dataset = image(number, Rows=plane.shape[0], Columns=plane.shape[1], **values)
        dataset.ImagePositionPatient = list(position)
        dataset.PixelData = (plane.astype(np.uint16) * 1000).tobytes()
        for keyword in ("StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName", "AccessionNumber"):
            setattr(dataset, keyword, None)
        for keyword in ("PatientName", "PatientBirthDate", "PatientSex", "PositionReferenceIndicator"):
            setattr(dataset, keyword, None)
        made.append(dataset)
    return made


def keep(folder: Path, datasets: Sequence[Dataset], patient: str = "P1") -> list[str]:
    """Write `datasets` into `folder` as a series of their own. Returns their UIDs."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, dataset in enumerate(datasets, start=1):
        dataset.PatientID = patient
        dataset.SOPInstanceUID = derived_uid("test", "blob", patient, str(number))
        dataset.SeriesInstanceUID = derived_uid("test", "series of", patient)
        dataset.StudyInstanceUID = derived_uid("test", "study of", patient)
        write_object(folder / f"{patient}-{number:03d}.dcm", dataset)
    return [str(dataset.SOPInstanceUID) for dataset in datasets]


def draw(path: Path, values: NDArray[Any]) -> str:
    """A PNG of `values`. Returns its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, np.uint8)).save(path)
    return f"{path.parent.name}/{path.name}"


def dice(one: NDArray[Any], other: NDArray[Any]) -> float:
    """2 |A ∩ B| / (|A| + |B|)."""
    a, b = one.astype(bool), other.astype(bool)
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def centre(drawn: NDArray[Any]) -> NDArray[np.float64]:
    """Of mass, in indices."""
    found: NDArray[np.float64] = np.argwhere(drawn).mean(axis=0)
    return found
