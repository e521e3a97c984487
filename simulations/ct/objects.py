"""The DICOM objects of one CT series: its slices (PS3.3 A.3), each with its place, and the localizer before them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from simulations.ct.scan import Scan
from simulations.ct.scanners import Scanner
from simulations.headers import Encounter, described, uid_of
from simulations.profiles import Profile

Stored = NDArray[np.int16] | NDArray[np.uint16]

#: Centre and width of the window for soft tissue, in HU.
WINDOW = (40, 400)
#: Rows from left to right, columns from front to back (PS3.3 C.7.6.2.1.1).
AXIAL, CORONAL = [1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1]


def slices_of(profile: Profile, seed: int, who: Encounter, found: Scan) -> list[Dataset]:
    """The slices of `found`, in the order of the scan: from feet to head."""
    stored = _stored(profile.ct, found)
    made = []
    for place, plane in enumerate(stored):
        number = place + 1 if profile.ct.upwards else len(stored) - place
        dataset = _image(profile, seed, who, plane, number)
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.ImageOrientationPatient = AXIAL
        dataset.ImagePositionPatient = [f"{mm:.3f}" for mm in position(found, place)]
        dataset.PixelSpacing = [f"{mm:.6g}" for mm in found.spacing[1:]]
        dataset.SliceThickness = f"{profile.ct.thickness_mm:g}"
        made.append(dataset)
    return made


def localizer_of(profile: Profile, seed: int, who: Encounter, found: Scan) -> Dataset:
    """The overview from the front by which the series was planned."""
    shown = found.values.mean(axis=1)[::-1]  # [slices, columns], the head on top
    stored = np.rint(shown - profile.ct.intercept).astype(_type(profile.ct))
    dataset = _image(profile, seed, who, stored, 0)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    dataset.ImageOrientationPatient = CORONAL
    dataset.ImagePositionPatient = [f"{mm:.3f}" for mm in position(found, len(stored) - 1)]
    dataset.PixelSpacing = [f"{found.spacing[0]:.6g}", f"{found.spacing[2]:.6g}"]
    dataset.SeriesInstanceUID = uid_of(profile, seed, str(who.patient), str(who.study), "localizer")
    dataset.SeriesNumber, dataset.SeriesDescription = 1, "SCOUT"
    return dataset


def position(found: Scan, place: int) -> tuple[float, float, float]:
    """Centre of the first pixel of a slice, LPS mm."""
    x, y, z = found.corner
    return x, y, round(z + place * found.spacing[0], 3)


def _image(profile: Profile, seed: int, who: Encounter, stored: Stored, number: int) -> Dataset:
    """`stored` [rows, columns] as the image `number` of the patient's series, its place not yet said."""
    names = str(who.patient), str(who.study)
    uid = uid_of(profile, seed, *names, "slice", str(number))
    dataset = described(profile, seed, who, number=number, uid=uid, seconds=0)
    dataset.SOPClassUID, dataset.Modality = CTImageStorage, "CT"
    dataset.ManufacturerModelName, dataset.KVP = profile.ct.model, "120"
    dataset.StudyDescription, dataset.SeriesDescription = "CHEST ABDOMEN", "AXIAL"
    dataset.BodyPartExamined, dataset.PatientPosition = "CHEST", "HFS"
    dataset.SeriesInstanceUID = uid_of(profile, seed, *names, "series")
    dataset.FrameOfReferenceUID = uid_of(profile, seed, *names, "frame of reference")
    dataset.PositionReferenceIndicator = ""
    dataset.SeriesNumber, dataset.AcquisitionNumber = 2, 1
    dataset.BurnedInAnnotation = "NO"
    _set_pixels(dataset, profile.ct, stored)
    return dataset


def _set_pixels(dataset: Dataset, scanner: Scanner, stored: Stored) -> None:
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, scanner.bits_stored, scanner.bits_stored - 1
    dataset.PixelRepresentation = int(scanner.signed)
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = "1", f"{scanner.intercept:g}", "HU"
    dataset.WindowCenter, dataset.WindowWidth = WINDOW
    if scanner.padding is not None:
        dataset.PixelPaddingValue = scanner.padding
        dataset["PixelPaddingValue"].VR = "SS" if scanner.signed else "US"
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OW"


def _type(scanner: Scanner) -> str:
    return "<i2" if scanner.signed else "<u2"


def _stored(scanner: Scanner, found: Scan) -> Stored:
    """HU → stored values [slices, rows, columns], padding outside of a round field."""
    least = -(2 ** (scanner.bits_stored - 1)) if scanner.signed else 0
    most = least + 2**scanner.bits_stored - 1
    stored: Stored = np.clip(np.rint(found.values - scanner.intercept), least, most).astype(_type(scanner))
    if scanner.padding is not None:
        along = (np.arange(scanner.matrix) + 0.5) * 2 / scanner.matrix - 1
        stored[:, along[:, None] ** 2 + along**2 > 1] = scanner.padding
    return stored


def item(**values: object) -> Dataset:
    """An item of a sequence, its `values` by keyword."""
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def references(slices: Sequence[Dataset]) -> list[Dataset]:
    """The slices as other objects name them (PS3.3 table 10-11)."""
    return [item(ReferencedSOPClassUID=one.SOPClassUID, ReferencedSOPInstanceUID=one.SOPInstanceUID) for one in slices]
