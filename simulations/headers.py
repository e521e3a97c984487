"""What every object of a simulated hospital says of patient, study and hospital, whatever it shows."""

from dataclasses import dataclass
from typing import Literal

from pydicom.dataset import Dataset

from client.dicom.writing import derived_uid
from simulations.profiles import Profile


@dataclass(frozen=True)
class Encounter:
    """One study of one patient: who and when (YYYYMMDD)."""

    patient: int
    study: int
    date: str
    sex: Literal["F", "M"]
    age: int


def described(profile: Profile, seed: int, who: Encounter, *, number: int, uid: str, seconds: int) -> Dataset:
    """The object `uid`, the `number`th of its series, made so many `seconds` after the patient's hour; without class,
    series and content (PS3.3 C.7.1.1, C.7.2.1, C.7.5.1)."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPInstanceUID = uid
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = who.date
    dataset.StudyTime = dataset.ContentTime = f"{8 + who.patient % 10:02d}{seconds // 60:02d}{seconds % 60:02d}"
    dataset.AccessionNumber = f"{profile.name[0].upper()}{seed % 1000:03d}{who.patient:06d}{who.study}"
    dataset.Manufacturer = profile.manufacturer
    dataset.InstitutionName = f"{profile.name.capitalize()} Hospital"
    dataset.ReferringPhysicianName = "Simulated^Referrer"
    dataset.PatientName = f"Simulated^Patient {who.patient}"
    dataset.PatientID = f"{profile.name[:3].upper()}-{who.patient:06d}"
    dataset.IssuerOfPatientID = f"{profile.name}.example"
    dataset.PatientBirthDate = f"{int(who.date[:4]) - who.age}0101"
    dataset.PatientSex, dataset.PatientAge = who.sex, f"{who.age:03d}Y"
    dataset.StudyInstanceUID = uid_of(profile, seed, str(who.patient), str(who.study))
    dataset.StudyID, dataset.InstanceNumber = str(who.study), number
    return dataset


def uid_of(profile: Profile, seed: int, *parts: str) -> str:
    """The UID of what `parts` name at this hospital."""
    return derived_uid("konsil/simulated/v1", profile.name, str(seed), *parts)
