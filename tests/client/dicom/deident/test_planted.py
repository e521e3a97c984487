"""Identities planted in every corner of an object: none is in the bytes that leave."""

import io
import struct
from collections.abc import Callable

import pytest
from pydicom import config, dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from client.dicom.deident.engine import deidentify
from client.dicom.deident.export import encoded
from client.dicom.deident.profile import Profile
from tests.client.dicom.conftest import Make
from tests.client.dicom.deident.conftest import KEY, leaks

NAMES = ["Muster", "Erika", "Doktorin", "Wirklich", "Techniker"]
#: In every place below stands "Geheim", so that one search finds a place that was forgotten.
PLANTED = [*NAMES, "PAT-4711", "ACC-4711", "Geheim", "Klinik am Rand", "19700101", "1.2.3.4711"]

#: Becomes "Geheim" in the file: pydicom writes no number that is none.
NUMBER = "123456"

Plant = Callable[[Dataset], None]


def item(**values: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def code(meaning: str) -> Dataset:
    return item(CodeValue="Geheim", CodingSchemeDesignator="99KLINIK", CodeMeaning=meaning)


def raw(dataset: Dataset, tag: int, vr: str, value: object) -> None:
    dataset[tag] = DataElement(tag, vr, value, validation_mode=config.IGNORE)


def header(dataset: Dataset) -> None:
    dataset.PatientBirthDate, dataset.PatientAddress = "19700101", "Geheimweg 1"
    dataset.OtherPatientNames = ["Muster^Geheim", "Erika^Geheim"]
    dataset.OtherPatientIDs = ["Geheim1", "Geheim2"]
    dataset.StudyDescription, dataset.SeriesDescription = "Knie von Fr. Muster", "Geheim"
    dataset.InstitutionName, dataset.StationName = "Klinik am Rand", "Geheim"
    dataset.PerformingPhysicianName = ["Doktorin^Eins", "Wirklich^Zwei"]
    dataset.StudyInstanceUID = "1.2.3.4711.1"
    dataset.FrameOfReferenceUID = "1.2.3.4711.2"


def unlisted(dataset: Dataset) -> None:
    """Attributes that the table does not name."""
    dataset.EvaluatorName = "Techniker^Geheim"
    dataset.ManufacturerModelName = "Scanner of Muster"
    dataset.SequenceName = ["PAT-4711", "se2d"]
    dataset.InterventionDescription = "Geheim"
    dataset.RetrieveURL = "http://klinik/Geheim"
    dataset.SpecimenDescriptionTrial = "Geheim"
    dataset.VolumeFrameOfReferenceUID = "1.2.3.4711.3"
    dataset.BodyPartExamined = "MUSTER"
    dataset.XRayTubeCurrent, dataset.SpacingBetweenSlices = NUMBER, NUMBER
    raw(dataset, 0x00280301, "CS", "Fr. Geheim!")
    raw(dataset, 0x00100022, "LO", "Geheim")  # Type of Patient ID, which is CS
    raw(dataset, 0x00280030, "LO", "Geheim")  # Pixel Spacing, which is DS


def nested(dataset: Dataset) -> None:
    deep = item(PatientName="Muster^Erika", PatientID="PAT-4711", SeriesDescription="Geheim", EvaluatorName="Geheim")
    for _ in range(5):
        deep = item(SharedFunctionalGroupsSequence=[deep], AcquisitionComments="Geheim")
    dataset.SharedFunctionalGroupsSequence = [deep, item(FrameContentSequence=[item(FrameComments="Geheim")])]
    dataset.RequestAttributesSequence = [item(RequestedProcedureID="Geheim", RequestedProcedureDescription="Geheim")]
    dataset.OtherPatientIDsSequence = [item(PatientID="Geheim", IssuerOfPatientID="Klinik am Rand")]
    dataset.OperatorIdentificationSequence = [item(PersonIdentificationCodeSequence=[code("Techniker")])]
    dataset.OriginalAttributesSequence = [item(ModifiedAttributesSequence=[item(PatientName="Muster^Erika")])]


def private(dataset: Dataset) -> None:
    block = dataset.private_block(0x0009, "Klinik am Rand", create=True)
    block.add_new(0x01, "LO", "Geheim")
    block.add_new(0x02, "UN", b"Geheim")
    block.add_new(0x03, "SQ", [item(PatientName="Muster^Erika", SeriesDescription="Geheim")])
    safe = dataset.private_block(0x7053, "Philips PET Private Group", create=True)
    safe.add_new(0x00, "DS", NUMBER)  # a safe element that holds no number
    raw(dataset, 0x00110099, "LO", "Geheim")  # of a block that nobody reserved


def graphics(dataset: Dataset) -> None:
    raw(dataset, 0x60004000, "LT", "Geheim")  # Overlay Comments
    raw(dataset, 0x60020022, "LO", "Geheim")  # Overlay Description
    raw(dataset, 0x60003000, "OW", b"Geheim")  # Overlay Data
    raw(dataset, 0x50002500, "LO", "Geheim")  # Curve Label
    raw(dataset, 0x50003000, "OW", b"Geheim")  # Curve Data
    text = item(UnformattedTextValue="Geheim", BoundingBoxAnnotationUnits="PIXEL")
    dataset.GraphicAnnotationSequence = [item(GraphicLayer="MUSTER", TextObjectSequence=[text])]


def content(dataset: Dataset) -> None:
    observer = item(ValueType="PNAME", ConceptNameCodeSequence=[code("Geheim")], PersonName="Doktorin^Wirklich")
    text = item(ValueType="TEXT", ConceptNameCodeSequence=[code("Geheim")], TextValue="Frau Muster, Geheim")
    date = item(ValueType="DATE", ConceptNameCodeSequence=[code("Geheim")], Date="19700101")
    reference = item(ValueType="UIDREF", ConceptNameCodeSequence=[code("Geheim")], UID="1.2.3.4711.9")
    container = item(ValueType="CONTAINER", ConceptNameCodeSequence=[code("Geheim")], ContentSequence=[observer, text])
    dataset.ContentSequence = [container, date, reference]
    dataset.VerifyingObserverSequence = [item(VerifyingObserverName="Doktorin", VerifyingOrganization="Geheim")]


def odd(dataset: Dataset) -> None:
    """What is no element of the standard's, or not as the standard has it."""
    raw(dataset, 0x00090000, "UL", 4711)
    raw(dataset, 0x00101234, "LO", "Geheim")  # no tag of the dictionary
    raw(dataset, 0x00101235, "UN", b"Geheim")
    raw(dataset, 0x4000 << 16 | 0x4000, "LT", "Geheim")  # Text Comments, retired
    raw(dataset, 0x00282000, "OB", b"ICC for Muster, Geheim")  # ICC Profile
    raw(dataset, 0xFFFCFFFC, "OB", b"Geheim")  # Data Set Trailing Padding


PLANTS = [header, unlisted, nested, private, graphics, content, odd]


def written(dataset: Dataset) -> bytes:
    """A file with more identities around the data set: in the preamble, in group 2, behind the end."""
    dataset.file_meta.SourceApplicationEntityTitle = "GEHEIM"
    dataset.file_meta.SendingApplicationEntityTitle = "GEHEIM"
    dataset.file_meta.PrivateInformationCreatorUID = UID("1.2.3.4711")
    dataset.file_meta.PrivateInformation = b"Geheim"
    dataset.preamble = b"Geheim".ljust(128, b"\0")
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue().replace(NUMBER.encode(), b"Geheim")


@pytest.mark.filterwarnings("ignore")  # pydicom says what is wrong with the objects made here
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize(
    "options", [(), ("safe-private", "descriptors", "structured-content", "graphics", "modified-dates")]
)
@pytest.mark.parametrize("plant", [*PLANTS, None], ids=lambda plant: getattr(plant, "__name__", "all"))
def test_nothing_planted_leaves(make: Make, plant: Plant | None, options: tuple[str, ...], syntax: UID) -> None:
    dataset = make()
    for each in PLANTS if plant is None else [plant]:
        each(dataset)
    dataset.file_meta.TransferSyntaxUID = syntax
    data = written(dataset)
    assert leaks(data, ["Geheim"])
    output = encoded(deidentify(dcmread(io.BytesIO(data)), Profile.of(*options), key=KEY))
    assert leaks(output, PLANTED) == []
    again = dcmread(io.BytesIO(output))
    assert again.Rows == 4
    assert again.PatientIdentityRemoved == "YES"


CHARACTER_SETS = [
    ("ISO_IR 100", "Müller^Änne"),
    ("ISO_IR 192", "Müller^Änne"),
    ("ISO_IR 144", "Люксембург"),
    ("GB18030", "王^小东"),
    (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
]


@pytest.mark.parametrize(("charset", "name"), CHARACTER_SETS, ids=str)
def test_names_in_other_character_sets_do_not_leave(make: Make, charset: str | list[str], name: str) -> None:
    parts = [part for group in name.split("=") for part in group.split("^")]
    dataset = make(SpecificCharacterSet=charset, PatientName=name)
    dataset.ManufacturerModelName = f"x {parts[-1]} y"  # a copy, in the same character set
    dataset.SeriesDescription = parts[0]
    data = written(dataset)
    assert leaks(data, parts)
    assert leaks(encoded(deidentify(dcmread(io.BytesIO(data)), Profile(), key=KEY)), parts) == []


def appended(data: bytes, tag: int, value: bytes) -> bytes:
    """`data`, a file in explicit little endian, with the element `tag` as UN (PS3.5 7.1.2) behind the last."""
    value += b"\0" * (len(value) % 2)
    return data + struct.pack("<HH2sxxI", tag >> 16, tag & 0xFFFF, b"UN", len(value)) + value


@pytest.mark.parametrize(
    "tag",
    [
        0x00104000,  # Patient Comments
        0x00081030,  # Study Description
        0x00180050,  # Slice Thickness
        0x00181151,  # X-Ray Tube Current
        0x00101010,  # Patient's Age
        0x00289110,  # Pixel Measures Sequence
    ],
)
@pytest.mark.parametrize("options", [(), ("patient", "descriptors", "full-dates")])
def test_known_elements_under_un_are_what_they_are(make: Make, tag: int, options: tuple[str, ...]) -> None:
    data = appended(written(make()), tag, b"Geheim")
    output = encoded(deidentify(dcmread(io.BytesIO(data)), Profile.of(*options), key=KEY))
    assert leaks(output, ["Geheim"]) == []


def test_a_sequence_under_un_is_treated_item_by_item(make: Make) -> None:
    inner = Dataset()
    inner.PatientName, inner.SeriesDescription, inner.ReferencedSOPInstanceUID = "Muster^Geheim", "Geheim", "1.2.3.4711"
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, True  # as everything under UN (PS3.5 6.2.2)
    write_dataset(buffer, inner)
    item_bytes = struct.pack("<HHI", 0xFFFE, 0xE000, buffer.tell()) + buffer.getvalue()
    data = appended(written(make(ManufacturerModelName="Muster")), 0x52009229, item_bytes)
    assert leaks(data, ["Geheim", "Muster", "1.2.3.4711"])
    output = encoded(deidentify(dcmread(io.BytesIO(data)), Profile(), key=KEY))
    assert leaks(output, ["Geheim", "Muster", "1.2.3.4711"]) == []
    (outer,) = dcmread(io.BytesIO(output)).SharedFunctionalGroupsSequence
    assert outer.ReferencedSOPInstanceUID.startswith("2.25.")
