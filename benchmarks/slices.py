"""What the benchmarks of images share: a CT slice as scanners write it, the values an index needs, and CPU seconds."""

import resource
from collections.abc import Callable

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage

from client.dicom.writing import derived_uid

SIDE = 512

#: The values an index needs, read with pydicom the plain way.
KEYWORDS = (
    "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "SOPClassUID", "PatientID", "IssuerOfPatientID",
    "AccessionNumber", "Modality", "Manufacturer", "ImageType", "PatientSex", "PatientAge", "SeriesNumber", "Rows",
    "Columns", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "BitsAllocated", "BitsStored",
    "BurnedInAnnotation",
)  # fmt: skip


def slice_of_ct(number: int) -> Dataset:
    """A 512 × 512 CT-like slice of 12 bits in 16 with about 260 elements, nested sequences included."""
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = derived_uid("bench", "image", str(number))
    dataset.SeriesInstanceUID = derived_uid("bench", "series", str(number // 100))
    dataset.StudyInstanceUID = derived_uid("bench", "study", str(number // 100))
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Modality, dataset.Manufacturer = "CT", "Benchmark"
    dataset.PatientID, dataset.PatientSex, dataset.PatientAge = f"B{number // 4}", "F", "055Y"
    dataset.AccessionNumber, dataset.SeriesNumber, dataset.InstanceNumber = str(number // 100), 1, number
    dataset.PixelSpacing, dataset.ImagePositionPatient = [0.7, 0.7], [0, 0, number]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows = dataset.Columns = SIDE
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.WindowCenter, dataset.WindowWidth = 2048, 4096
    for block in range(2):
        group = 0x0019 + 2 * block
        dataset.add_new(group << 16 | 0x0010, "LO", "KONSIL BENCH")
        for element in range(105):
            dataset.add_new(
                group << 16 | 0x1000 + element,
                ("DS", "LO", "FD", "IS")[element % 4],
                ("1.5", "text", 1.5, 7)[element % 4],
            )
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "T-D3000", "SRT", "Chest"
    dataset.ProcedureCodeSequence = Sequence([item, item])
    return dataset


def cpu(work: Callable[[], object]) -> float:
    """CPU seconds of this process and its finished children."""

    def spent() -> float:
        used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(each.ru_utime + each.ru_stime for each in used)

    start = spent()
    work()
    return spent() - start
