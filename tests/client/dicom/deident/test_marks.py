"""What an object says of itself once it was de-identified; its patient's key."""

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)

from client.dicom.deident.marks import fresh_meta, mark, patient_of, syntax_of
from client.dicom.deident.profile import Profile
from client.dicom.keys import orphan_key, patient_key
from tests.client.dicom.conftest import Make

KEY = b"k" * 32


def test_the_patient_is_the_one_of_the_catalog(make: Make) -> None:
    assert patient_of(make(IssuerOfPatientID="A"), KEY) == patient_key(KEY, b"A", b"PAT-4711")
    assert patient_of(make(), KEY) == patient_key(KEY, b"", b"PAT-4711")


def test_without_a_patient_the_study_is_taken_for_one(make: Make) -> None:
    dataset = make(PatientID="")
    assert patient_of(dataset, KEY) == orphan_key(KEY, dataset.StudyInstanceUID.encode())


def test_method_names_fit_their_vr_and_name_the_standard() -> None:
    dataset = Dataset()
    mark(dataset, Profile.of("structured-content", "modified-dates"), identity_removed=True)
    assert all(len(value) <= 64 for value in dataset.DeidentificationMethod)
    assert dataset.DeidentificationMethod[0].startswith("Konsil ")
    assert "PS3.15 2026c Table E.1-1" in dataset.DeidentificationMethod[1]


def test_the_file_meta_information_names_konsil_and_nothing_else(make: Make) -> None:
    source = make()
    source.file_meta.SourceApplicationEntityTitle = "KLINIK"
    source.file_meta.PrivateInformation = b"Muster"
    meta = fresh_meta(source, source)
    assert sorted(element.keyword for element in meta) == [
        "ImplementationClassUID",
        "ImplementationVersionName",
        "MediaStorageSOPClassUID",
        "MediaStorageSOPInstanceUID",
        "TransferSyntaxUID",
    ]


@pytest.mark.parametrize(
    ("said", "encoding", "syntax"),
    [
        (JPEGBaseline8Bit, (False, True), JPEGBaseline8Bit),
        (None, (True, True), ImplicitVRLittleEndian),
        (None, (False, False), ExplicitVRBigEndian),
        (None, (None, None), ExplicitVRLittleEndian),
        (UID("1.2.3.4"), (False, True), ExplicitVRLittleEndian),
    ],
)
def test_the_transfer_syntax_is_that_of_the_source(
    said: UID | None, encoding: tuple[bool | None, bool | None], syntax: UID
) -> None:
    source = Dataset()
    source.file_meta = FileMetaDataset()
    if said:
        source.file_meta.TransferSyntaxUID = said
    source.set_original_encoding(*encoding)
    assert syntax_of(source) == syntax
