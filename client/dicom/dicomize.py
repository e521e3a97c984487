"""Pictures with a table of labels → a DICOM archive with labels.csv, so that they go the way every image goes.

Masks, if there are, are kept as PNG beside the archive and named in the column `mask` of its labels.csv; a mask with
nothing in it as `none`. The table's further columns are kept.

Guarantees: the same pictures and table give the same bytes (UIDs come from digests); the archive appears whole or
not at all; a picture that cannot be read stops it, naming the row. Colour becomes modality XC (PS3.3 A.32.4), grey
becomes modality OT, Secondary Capture (PS3.3 A.8.1), with no pixel spacing, because none is known.

    konsil-client dicomize skin.zip --out archive
"""

import csv
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage, VLPhotographicImageStorage

from client.dicom.labels.mask_table import NONE
from client.dicom.picture_table import LABEL, MASK, Row
from client.dicom.pictures import MASKS, Pictures, Pixels, open_pictures
from client.dicom.writing import derived_uid, whole_folder, write_object
from shared.errors import InputError

_LABEL = "konsil/dicomized/v1"
_UID = "sop_instance_uid"


def dicomize(
    images: Path,
    labels: str | Path | None,
    out: Path,
    *,
    label_column: str = LABEL,
    description: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write the pictures of `images` (folder, zip or NPZ) to the new folder `out`. Returns how many.

    `labels` is the table: a CSV file, or the name of a member of the zip; None: labels.csv in the folder, the only
    CSV of the zip, or the labels in the NPZ; `label_column`: the column of it that becomes the label. `description`
    stands in every header as the series'. Raises InputError (which row, which column), SiteError (disk).
    """
    if not images.exists():
        raise InputError(f"{images}", expected="a folder, a .zip or an .npz", got="none", do="Check the path.")
    pictures = open_pictures(images, None if labels is None else str(labels))
    rows = pictures.rows(label_column)
    if not rows:
        raise InputError(f"{images}", expected="at least one row in the table of labels", got="none")
    numbers: dict[str, int] = {}
    counts: dict[str, int] = {}
    lines: list[dict[str, str]] = []
    with whole_folder(out) as draft:
        for done, row in enumerate(rows, start=1):
            patient = numbers.setdefault(row.patient, len(numbers) + 1)
            count = counts[row.patient] = counts.get(row.patient, 0) + 1
            pixels = pictures.pixels(row)
            dataset = _image_object(row, pixels, count)
            if description:
                dataset.SeriesDescription = description
            folder = draft / "DICOM" / f"P{patient:06d}"
            folder.mkdir(parents=True, exist_ok=True)
            write_object(folder / f"IM{count:06d}.dcm", dataset)
            mask = _write_mask(draft, f"P{patient:06d}-{count:06d}.png", pictures, row, pixels)
            lines.append({_UID: str(dataset.SOPInstanceUID), LABEL: row.label, MASK: mask, **row.others})
            if progress:
                progress(done, len(rows))
        _write_table(draft / "labels.csv", lines)
    return len(rows)


def _write_mask(draft: Path, name: str, pictures: Pictures, row: Row, pixels: Pixels) -> str:
    """Write the mask of `row` to the file `name`. Returns what its cell says."""
    mask = pictures.mask(row)
    if mask is None:
        return NONE if row.mask else ""
    if mask.shape != pixels.shape[:2]:
        got = " × ".join(map(str, mask.shape))
        expected = f"a mask of the picture's {' × '.join(map(str, pixels.shape[:2]))} pixels"
        raise InputError(f"label table, row {row.number}", expected=expected, got=got, do="Draw it on the picture.")
    if not mask.any():
        return NONE
    (draft / MASKS).mkdir(exist_ok=True)
    Image.fromarray(np.ascontiguousarray(mask)).save(draft / MASKS / name, "PNG")
    return f"{MASKS}/{name}"


def _write_table(path: Path, lines: list[dict[str, str]]) -> None:
    """labels.csv; without a column `mask` if no picture has one."""
    columns = [name for name in lines[0] if name != MASK or any(line[MASK] for line in lines)]
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(lines)


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
