"""A simulated hospital: a folder of DICOM radiographs as an archive really holds them, labels.csv and masks.

labels.csv says of each image: a label; the patient's sex and age; how many nodules are seen, and how large the largest
is; whether there is one in the patient's left and right lung; the file of a mask, or none; and a box around each.
Guarantees: the same patients, seed and profile give the same bytes of every file; the folder appears whole
or not at all. Besides the labelled images it holds what every archive has: a localizer, a byte-for-byte copy, an
object sent twice with a changed header, a truncated file, a text file and an image that nobody labelled.

    >>> write_hospital(Path("alder"), patients=10, seed=1, profile=PROFILES["alder"])
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import ComputedRadiographyImageStorage, DigitalXRayImageStorageForPresentation

from client.dicom.labels.mask_table import NONE
from client.dicom.writing import whole_folder, write_object
from simulations.findings import COLUMNS, LABELS, Visit, known, write_drawn
from simulations.headers import described, uid_of
from simulations.profiles import PROFILES, Profile
from simulations.radiograph import Image, Pose, draw, draw_anatomy, draw_nodules, draw_pose, outline
from simulations.writing import Row, each_patient, write_labels

__all__ = ["COLUMNS", "LABELS", "PROFILES", "Profile", "write_hospital"]

#: Fewer patients than this are written by this process alone.
ALONE = 40


@dataclass(frozen=True)
class Exposure:
    """One image's place in the archive, and its row of labels.csv."""

    path: Path
    sop_uid: str
    row: Row


def write_hospital(
    out: Path,
    *,
    patients: int,
    seed: int,
    profile: Profile,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the archive of `patients` patients and its labels.csv into the new folder `out`.

    `progress(done, patients)` is called as patients are finished. Raises InputError if `out` is not empty.
    """
    with whole_folder(out) as draft:
        exposures: list[Exposure] = []
        write = partial(_write_patient, draft, seed, profile)
        for done, written in enumerate(each_patient(write, patients, alone=ALONE), start=1):
            exposures += written
            if progress:
                progress(done, patients)
        _clutter(draft, seed, profile, exposures[0])
        broken = (LABELS[0], *exposures[0].row[2:4], 0, 0, 0, 0, NONE, NONE)
        rows = [exposure.row for exposure in exposures]
        write_labels(draft, COLUMNS, [*rows, (uid_of(profile, seed, "truncated"), *broken)])


def _write_patient(draft: Path, seed: int, profile: Profile, patient: int) -> tuple[Exposure, ...]:
    """All studies of one patient; depends on nothing but its arguments, so any process may do it."""
    rng = np.random.default_rng([seed, *profile.name.encode(), patient])
    exposures: list[Exposure] = []
    for visit in _visits(rng, profile, patient):
        folder = draft / "DICOM" / visit.date[:4] / f"{visit.date}-{patient:05d}{visit.study}" / "SE000001"
        folder.mkdir(parents=True)
        for number in range(1, visit.images + 1):
            path = folder / f"IM{number:06d}.dcm"
            uid = uid_of(profile, seed, str(patient), str(visit.study), str(number))
            pose = draw_pose(rng)
            dataset = _image_object(profile, seed, visit, _expose(rng, profile, visit, pose), number=number, uid=uid)
            write_object(path, dataset, profile.syntax)
            seen = [outline(nodule, pose, profile.matrix, aspect=_aspect(profile)) for nodule in visit.nodules]
            name = f"{patient:05d}-{visit.study}-{number:06d}.png"
            exposures.append(Exposure(path, uid, (uid, *known(profile, visit), *write_drawn(draft, name, seen))))
    return tuple(exposures)


def _visits(rng: np.random.Generator, profile: Profile, patient: int) -> Iterator[Visit]:
    """A patient's studies; who has nodules has them in every image of a study, and now and then not yet at first."""
    sex: Literal["F", "M"] = "F" if rng.random() < profile.women else "M"
    age = int(rng.integers(profile.age[0], profile.age[1] + 1))
    anatomy = draw_anatomy(rng, sex, age)
    count = int(rng.integers(1, 4)) if rng.random() < profile.prevalence else 0
    nodules = draw_nodules(rng, anatomy, count)
    studies = int(rng.integers(profile.studies[0], profile.studies[1] + 1))
    year, day = int(rng.integers(2019, 2025)), int(rng.integers(28)) + 1
    for study in range(1, studies + 1):
        early = study == 1 and studies > 1 and rng.random() < 0.15
        date = f"{year + study - 1}{int(rng.integers(12)) + 1:02d}{day:02d}"
        images = int(rng.integers(profile.images[0], profile.images[1] + 1))
        found = () if early else nodules
        yield Visit(patient, study, date, sex, age + study - 1, anatomy, found, images)


def _aspect(profile: Profile) -> float:
    """Height over width of the detector."""
    rows, columns = profile.matrix
    return rows * profile.spacing_mm[0] / (columns * profile.spacing_mm[1])


def _expose(rng: np.random.Generator, profile: Profile, visit: Visit, pose: Pose | None = None) -> Image:
    """Attenuation as this detector sees it: float32 [rows, columns], noise included."""
    image = draw(rng, visit.anatomy, visit.nodules, profile.matrix, aspect=_aspect(profile), pose=pose)
    image += np.float32(profile.noise) * rng.standard_normal(profile.matrix, dtype=np.float32)
    return image


def _stored(profile: Profile, image: Image) -> NDArray[np.uint16]:
    """Attenuation → stored values [rows, columns], inverted for MONOCHROME1 (PS3.3 C.7.6.3.1.2)."""
    top = 2**profile.bits_stored - 1
    black, white = profile.stored_range
    share = black + (white - black) * image
    if profile.photometric == "MONOCHROME1":
        share = 1 - share
    stored: NDArray[np.uint16] = np.clip(np.rint(share * top), 0, top).astype(np.uint16)
    return stored


def _window(profile: Profile) -> tuple[float, float]:
    """Centre and width, after rescale, that show attenuation 0 to `window_top` (PS3.3 C.11.2.1.2)."""
    top = 2**profile.bits_stored - 1
    slope, intercept = profile.rescale or (1.0, 0.0)
    black, white = profile.stored_range
    ends = black, black + (white - black) * profile.window_top
    if profile.photometric == "MONOCHROME1":
        ends = 1 - ends[1], 1 - ends[0]
    low, high = (round(end * top) * slope + intercept for end in ends)
    return (low + high) / 2, high - low


def _image_object(profile: Profile, seed: int, visit: Visit, image: Image, *, number: int, uid: str) -> Dataset:
    """A CR or DX object (PS3.3 A.2, A.26), pixels native."""
    dataset = described(profile, seed, visit, number=number, uid=uid, seconds=60 * number)
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dx = profile.modality == "DX"
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation if dx else ComputedRadiographyImageStorage
    dataset.Modality = profile.modality
    if dx:
        dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.ManufacturerModelName = profile.model
    dataset.StudyDescription, dataset.SeriesDescription = "CHEST", "CHEST PA"
    dataset.BodyPartExamined, dataset.ViewPosition = "CHEST", "PA"
    dataset.SeriesInstanceUID = uid_of(profile, seed, str(visit.patient), str(visit.study), "series")
    dataset.SeriesNumber = 1
    dataset.PatientOrientation = ["L", "F"]
    dataset.BurnedInAnnotation = "NO"
    _set_pixels(dataset, profile, image)
    return dataset


def _set_pixels(dataset: Dataset, profile: Profile, image: Image) -> None:
    stored = _stored(profile, image)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, profile.photometric
    dataset.Rows, dataset.Columns = stored.shape
    # row distance first (PS3.3 10.7.1.3)
    spacing = [f"{mm:.2f}" for mm in profile.spacing_mm]
    dataset.ImagerPixelSpacing = dataset.PixelSpacing = spacing
    dataset.BitsAllocated, dataset.BitsStored = 16, profile.bits_stored
    dataset.HighBit, dataset.PixelRepresentation = profile.bits_stored - 1, 0
    if profile.rescale:
        dataset.RescaleSlope, dataset.RescaleIntercept = profile.rescale
        dataset.RescaleType = "US"
    dataset.WindowCenter, dataset.WindowWidth = (f"{value:.1f}" for value in _window(profile))
    dataset.VOILUTFunction = profile.window_function
    inverse = profile.photometric == "MONOCHROME1"
    dataset.PresentationLUTShape = "INVERSE" if inverse else "IDENTITY"
    dataset.PixelData = stored.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"


def _clutter(draft: Path, seed: int, profile: Profile, first: Exposure) -> None:
    """What archives really hold, beside the first image's series: six files that must not be used."""
    rng = np.random.default_rng([seed, *hashlib.sha256(profile.name.encode()).digest()])
    visit = next(_visits(rng, profile, 99_999))
    folder = draft / "DICOM" / "unsorted"
    folder.mkdir()

    def extra(name: str, uid: str, **changes: object) -> Path:
        dataset = _image_object(profile, seed, visit, _expose(rng, profile, visit), number=1, uid=uid)
        for keyword, value in changes.items():
            setattr(dataset, keyword, value)
        write_object(folder / name, dataset, profile.syntax)
        return folder / name

    extra("scout.dcm", uid_of(profile, seed, "localizer"), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    extra("unlabelled.dcm", uid_of(profile, seed, "unlabelled"))
    extra("sent again.dcm", first.sop_uid, InstitutionName="Another department")
    shutil.copyfile(first.path, folder / "Kopie von IM000001.dcm")
    whole = extra("broken.dcm", uid_of(profile, seed, "truncated")).read_bytes()
    (folder / "broken.dcm").write_bytes(whole[: len(whole) * 6 // 10])
    (folder / "read me.txt").write_text("Moved here from the old server. Ask radiology before deleting.\n")
