"""Pictures with a table of labels → a DICOM archive with labels.csv, so that they go the way every image goes.

Guarantees: the same pictures and table give the same bytes (UIDs come from digests); the archive appears whole or
not at all; a picture that cannot be read stops it, naming the row. Colour becomes modality XC (PS3.3 A.32.4), grey
becomes modality OT, Secondary Capture (PS3.3 A.8.1), with no pixel spacing, because none is known.

    konsil-client dicomize skin.zip --out archive
"""

import csv
import hashlib
from collections.abc import Callable
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage, VLPhotographicImageStorage

from client.dicom.pictures import Pixels, Row, open_pictures
from client.dicom.writing import derived_uid, whole_folder, write_object
from shared.errors import InputError

_LABEL = "konsil/dicomized/v1"


def dicomize(
    images: Path,
    labels: str | Path | None,
    out: Path,
    *,
    description: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write the pictures of `images` (folder, zip or NPZ) to the new folder `out`. Returns how many.

    `labels` is the table: a CSV file, or the name of a member of the zip; None: labels.csv in the folder, the only
    CSV of the zip, or the labels in the NPZ. `description` stands in every header as the series'. Raises InputError
    (which row, which column), SiteError (disk).
    """
    if not images.exists():
        raise InputError(f"{images}", expected="a folder, a .zip or an .npz", got="none", do="Check the path.")
    pictures = open_pictures(images, None if labels is None else str(labels))
    rows = pictures.rows()
    if not rows:
        raise InputError(f"{images}", expected="at least one row in the table of labels", got="none")
    numbers: dict[str, int] = {}
    counts: dict[str, int] = {}
    with whole_folder(out) as draft, (draft / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("sop_instance_uid", "label"))
        for done, row in enumerate(rows, start=1):
            patient = numbers.setdefault(row.patient, len(numbers) + 1)
            count = counts[row.patient] = counts.get(row.patient, 0) + 1
            dataset = _image_object(row, pictures.pixels(row), count)
            if description:
                dataset.SeriesDescription = description
            folder = draft / "DICOM" / f"P{patient:06d}"
            folder.mkdir(parents=True, exist_ok=True)
            write_object(folder / f"IM{count:06d}.dcm", dataset)
            table.writerow((dataset.SOPInstanceUID, row.label))
            if progress:
                progress(done, len(rows))
    return len(rows)


def _patient_id(patient: str) -> str:
    """`patient` where it is a value LO can hold (PS3.5 6.2: 64 characters, no backslash), else a digest of it."""
    fits = len(patient) <= 64 and patient.isprintable() and "\\" not in patient
    return patient if fits else hashlib.sha256(patient.encode()).hexdigest()


def _image_object(row: Row, pixels: Pixels, number: int) -> Dataset:
    """A VL Photographic or Secondary Capture object; study and series are the patient's."""
    color = pixels.ndim == 3
    data = pixels.tobytes()
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.SOPClassUID = VLPhotographicImageStorage if color else SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = derived_uid(_LABEL, "image", row.patient, row.image, hashlib.sha256(data).hexdigest())
    dataset.StudyDate = dataset.StudyTime = dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.Modality = "XC" if color else "OT"
    dataset.ConversionType = "WSD"
    dataset.Manufacturer = "Konsil dicomize"
    dataset.PatientName = dataset.PatientBirthDate = ""
    dataset.PatientID, dataset.PatientSex = _patient_id(row.patient), row.sex
    if row.age is not None:
        dataset.PatientAge = f"{row.age:03d}Y"
    dataset.StudyInstanceUID = derived_uid(_LABEL, "study", row.patient)
    dataset.SeriesInstanceUID = derived_uid(_LABEL, "series", row.patient)
    dataset.StudyID, dataset.SeriesNumber, dataset.InstanceNumber = "1", 1, number
    dataset.PatientOrientation = ""
    bits = 8 * pixels.dtype.itemsize
    dataset.SamplesPerPixel = 3 if color else 1
    dataset.PhotometricInterpretation = "RGB" if color else "MONOCHROME2"
    if color:
        dataset.PlanarConfiguration = 0
    else:  # the whole range, so that grey stays as it was drawn (PS3.3 C.11.2.1.2.1)
        dataset.WindowCenter, dataset.WindowWidth = 1 << (bits - 1), 1 << bits
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, 0
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    return dataset
