"""The final sweep over one object."""

import pytest
from pydicom.dataset import Dataset

from client.dicom.deident.profile import Profile
from client.dicom.deident.sweep import collect, sweep
from tests.client.dicom.conftest import Make
from tests.client.dicom.deident.conftest import round_trip


def item(**values: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize("again", [False, True])
def test_names_and_numbers_are_collected_at_all_levels(make: Make, again: bool) -> None:
    dataset = make(OtherPatientIDsSequence=[item(PatientID="ANDERS-1")], OperatorsName=["Eins^Anna", "Zwei^Bert"])
    dataset.RequestAttributesSequence = [item(RequestingPhysician="Doktorin")]
    found = collect(round_trip(dataset) if again else dataset, Profile())
    for text in ("Muster", "PAT-4711", "ACC 4711", "anders1", "Anna", "Bert", "Doktorin"):
        assert found.in_text(text), text


def test_the_institution_counts_unless_it_is_retained(make: Make) -> None:
    dataset = make(InstitutionName="Klinik am Rand")
    assert collect(dataset, Profile()).in_text("klinik am rand")
    assert not collect(dataset, Profile.of("institution")).in_text("klinik am rand")


def test_elements_go_as_a_whole_and_are_counted(make: Make) -> None:
    dataset = make(SequenceName=["se2d", "Muster"], PulseSequenceName="se2d", ICCProfile=b"for Muster")
    dataset.SharedFunctionalGroupsSequence = [item(PulseSequenceName="ERIKA", Rows=4)]
    found = collect(dataset, Profile())
    del dataset.PatientName
    del dataset.AccessionNumber
    assert sweep(dataset, found) == 3
    assert "SequenceName" not in dataset
    assert "ICCProfile" not in dataset
    assert dataset.PulseSequenceName == "se2d"
    assert dataset.SharedFunctionalGroupsSequence[0].dir() == ["Rows"]


def test_numbers_of_a_file_are_searched_as_bytes(make: Make) -> None:
    dataset = make(PatientID="4711001", SeriesNumber="4711001", InstanceNumber="47110")
    dataset.add_new(0x00189219, "US", [int.from_bytes(part, "little") for part in (b"MU", b"ST", b"ER")])
    source = round_trip(dataset)
    found = collect(source, Profile())
    del source.PatientName, source.PatientID, source.AccessionNumber
    assert sweep(source, found) == 2
    assert "SeriesNumber" not in source
    assert source.InstanceNumber == 47110
    assert (source.Rows, len(source.PixelData)) == (4, 32)


def test_codes_that_decoders_need_stay_whatever_a_patient_is_called(make: Make) -> None:
    dataset = make(PatientName="MONOCHROME2^ISO", SpecificCharacterSet="ISO_IR 100", ImageType=["ORIGINAL", "ISO"])
    found = collect(dataset, Profile())
    del dataset.PatientName
    assert sweep(dataset, found) == 1  # the accession number, which is one itself
    assert dataset.PhotometricInterpretation == "MONOCHROME2"
    assert dataset.ImageType == ["ORIGINAL", "ISO"]
