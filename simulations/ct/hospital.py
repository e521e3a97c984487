"""A simulated hospital with CT: a folder of series as an archive really holds them, labels.csv and outlines.

labels.csv says of each series whether there is a pleural effusion, how much fluid and how large the liver is in ml, the
patient's sex and age, and the file of the liver's outline. Guarantees: the same patients, seed and profile give the
same bytes of every file; the folder appears whole or not at all. Every series has its localizer; one series more has
lost a slice on its way.

    >>> write_ct_hospital(Path("alder"), patients=10, seed=1, profile=PROFILES["alder"])
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from pydicom.dataset import Dataset

from client.dicom.writing import whole_folder, write_object
from simulations.ct.objects import localizer_of, slices_of
from simulations.ct.outlines import outline_of
from simulations.ct.scan import scan
from simulations.ct.trunk import draw_trunk
from simulations.findings import MASKS
from simulations.headers import Encounter
from simulations.profiles import Profile
from simulations.writing import Row, each_patient, write_labels

LABELS = ("no effusion", "effusion")
COLUMNS = ("series_instance_uid", "label", "sex", "age", "effusion_ml", "liver_ml", "mask")
#: Number of the study, after those with radiographs: no object of a hospital's two archives is called like another.
STUDY = 7
#: Fewer patients than this are written by this process alone.
ALONE = 8


def write_ct_hospital(
    out: Path,
    *,
    patients: int,
    seed: int,
    profile: Profile,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the archive of `patients` patients, one series of each, and its labels.csv into the new folder `out`.

    `progress(done, patients)` is called as patients are finished. Raises InputError if `out` is not empty.
    """
    with whole_folder(out) as draft:
        (draft / MASKS).mkdir()
        write = partial(_write_patient, draft, seed, profile, patients)
        rows: list[Row] = []
        for done, row in enumerate(each_patient(write, patients + 1, alone=ALONE), start=1):
            rows.append(row)
            if progress and done <= patients:
                progress(done, patients)
        write_labels(draft, COLUMNS, rows)


def _write_patient(draft: Path, seed: int, profile: Profile, patients: int, patient: int) -> Row:
    """The series of one patient, its localizer and its outline; that of the one after the last has lost a slice."""
    rng = np.random.default_rng([seed, *profile.name.encode(), patient])
    who = _encounter(rng, profile, patient)
    ill = bool(rng.random() < profile.prevalence)
    found = scan(rng, draw_trunk(rng, who.sex, who.age, effusion=ill), profile.ct)
    slices = slices_of(profile, seed, who, found)
    outline = Path(MASKS) / f"{patient:05d}.dcm"
    write_object(draft / outline, outline_of(profile, seed, who, found, slices))
    if patient == patients:
        del slices[len(slices) // 2]
    folder = draft / "DICOM" / who.date[:4] / f"{who.date}-{patient:05d}{who.study}"
    _write_series(folder / "SE000001", [localizer_of(profile, seed, who, found)], profile.ct.syntax)
    _write_series(folder / "SE000002", slices, profile.ct.syntax)
    volumes = (f"{found.millilitres(mask):.0f}" for mask in (found.fluid, found.liver))
    return slices[0].SeriesInstanceUID, LABELS[ill], who.sex, who.age, *volumes, str(outline)


def _encounter(rng: np.random.Generator, profile: Profile, patient: int) -> Encounter:
    sex: Literal["F", "M"] = "F" if rng.random() < profile.women else "M"
    age = int(rng.integers(profile.age[0], profile.age[1] + 1))
    date = f"{int(rng.integers(2019, 2025))}{int(rng.integers(12)) + 1:02d}{int(rng.integers(28)) + 1:02d}"
    return Encounter(patient, STUDY, date, sex, age)


def _write_series(folder: Path, images: Sequence[Dataset], syntax: str) -> None:
    folder.mkdir(parents=True)
    for dataset in images:
        write_object(folder / f"IM{dataset.InstanceNumber:06d}.dcm", dataset, syntax)
