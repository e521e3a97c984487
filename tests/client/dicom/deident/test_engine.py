"""The engine: every row of the table, at the top and in items; references, dates, texts, determinism."""

import copy
import io
from typing import Any

import numpy as np
import pytest
from pydicom import config, dcmread
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from client.dicom.deident.dummies import VALUES
from client.dicom.deident.engine import clean, deidentify
from client.dicom.deident.export import encoded
from client.dicom.deident.profile import Option, Profile
from client.dicom.deident.table import Action, Row, by_tag
from client.dicom.deident.uids import mapped
from client.dicom.reasons import LeftOutError, Reason
from tests.client.dicom.conftest import Make
from tests.client.dicom.deident.conftest import KEY, round_trip

#: A plausible value of each VR, none of them a dummy.
PLAUSIBLE: dict[str, Any] = {
    **dict.fromkeys(("AE", "LO", "LT", "PN", "SH", "ST", "UC", "UT"), "Planted"),
    **dict.fromkeys(("OB", "OW", "UN"), b"Planted "),
    "AS": "041Y",
    "CS": "PLANTED",
    "DA": "20200402",
    "DS": "41.5",
    "DT": "20200402101112",
    "FD": 41.5,
    "IS": "41",
    "TM": "101112",
    "UI": "1.2.3.41",
    "UR": "http://planted.example",
    "US": 41,
}
ROWS = [row for row in by_tag().values() if row.number is not None and row.number >> 16 not in (0, 4)]
NESTED = "SharedFunctionalGroupsSequence"  # a sequence of which the table says nothing


def element_of(row: Row) -> DataElement:
    tag = int(row.tag, 16)
    vr = dictionary_VR(tag).partition(" ")[0] if dictionary_has_tag(tag) else "LO"
    if vr == "SQ":
        item = Dataset()
        item.ReferencedSOPInstanceUID, item.TextValue, item.Rows = "1.2.3.41", "Planted", 41
        return DataElement(tag, vr, Sequence([item]))
    return DataElement(tag, vr, PLAUSIBLE[vr])


def treated(make: Make, row: Row, profile: Profile | None = None, *, nested: bool = True) -> DataElement | None:
    """What becomes of the attribute of `row`, in an item (where nothing is known of types) or at the top."""
    dataset = make()
    place = Dataset()
    place[int(row.tag, 16)] = element_of(row)
    if nested:
        setattr(dataset, NESTED, [place])
    else:
        dataset[int(row.tag, 16)] = element_of(row)
    output = deidentify(dataset, profile or Profile(), key=KEY)
    found = output[NESTED].value[0] if nested else output
    return found.get(int(row.tag, 16))


def assert_dummy(element: DataElement | None) -> None:
    assert element is not None
    if element.VR == "SQ":
        (item,) = element.value
        assert item.ReferencedSOPInstanceUID == mapped("1.2.3.41", KEY)
        assert item.TextValue == "REMOVED"
    elif element.VR == "UI":
        assert element.value == mapped("1.2.3.41", KEY)
    else:
        assert element == DataElement(element.tag, element.VR, VALUES[element.VR])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.keyword)
def test_every_row_of_the_table_in_an_item(make: Make, row: Row) -> None:
    element = treated(make, row)
    match row.basic.rstrip("*")[-1]:  # in an item the last alternative, which is valid everywhere
        case "X":
            assert element is None
        case "Z":
            assert element is not None
            assert element.is_empty
        case "D":
            assert_dummy(element)
        case "U":
            assert element is not None
            uid = element.value[0].ReferencedSOPInstanceUID if element.VR == "SQ" else element.value
            assert uid == mapped("1.2.3.41", KEY)


KEPT = [(row, option) for row in ROWS for option, action in row.options.items() if action is Action.KEEP]


@pytest.mark.parametrize(("row", "option"), KEPT, ids=lambda value: getattr(value, "keyword", str(value)))
def test_every_attribute_that_an_option_keeps(make: Make, row: Row, option: Option) -> None:
    element = treated(make, row, Profile(frozenset({option})))
    assert element is not None
    if element.VR != "SQ":
        assert element == element_of(row)
    elif option is Option.UIDS:
        assert element.value[0].ReferencedSOPInstanceUID == "1.2.3.41"
    else:  # kept sequences are treated item by item
        assert element.value[0].ReferencedSOPInstanceUID == mapped("1.2.3.41", KEY)


CLEANED = [(row, option) for row in ROWS for option, action in row.options.items() if action is Action.CLEAN]


@pytest.mark.parametrize(("row", "option"), CLEANED, ids=lambda value: getattr(value, "keyword", str(value)))
def test_every_attribute_that_an_option_cleans(make: Make, row: Row, option: Option) -> None:
    element = treated(make, row, Profile(frozenset({option})))
    assert "lanted" not in str(element)
    if option is Option.MODIFIED_DATES and element is not None and element.VR in ("DA", "DT"):
        assert str(element.value)[:4] in ("2009", "2010", *map(str, range(2011, 2020)))


@pytest.mark.parametrize(
    ("keyword", "value", "expected"),
    [
        ("StudyDate", "20200402", None),  # Z
        ("AcquisitionDate", "20200402", "absent"),  # X/Z, of type 3 in secondary captures
        ("InstitutionName", "Klinik", "absent"),  # X/Z/D, type 3
        ("PatientName", "Muster^Erika", None),
        ("PatientID", "PAT-4711", "pseudonym"),
        ("ContentDate", "20200402", None),  # Z/D, type 2C
        ("SeriesDescription", "Knie", "absent"),
        ("AccessionNumber", "ACC-4711", None),
    ],
)
def test_actions_at_the_top_follow_the_type(make: Make, keyword: str, value: str, expected: str | None) -> None:
    output = deidentify(make(**{keyword: value}), Profile(), key=KEY)
    if expected == "absent":
        assert keyword not in output
    elif expected == "pseudonym":
        assert len(output[keyword].value) == 32
        assert set(output[keyword].value) <= set("0123456789abcdef")
    else:
        assert output[keyword].is_empty


def test_a_patient_has_one_pseudonym_and_two_have_two(make: Make) -> None:
    def pseudonym(number: str, issuer: str = "A", key: bytes = KEY) -> str:
        return str(deidentify(make(PatientID=number, IssuerOfPatientID=issuer), Profile(), key=key).PatientID)

    assert pseudonym("1") == pseudonym("1")
    assert len({pseudonym("1"), pseudonym("2"), pseudonym("1", "B"), pseudonym("1", key=b"x" * 32)}) == 4


def test_the_marks_say_what_was_done(make: Make) -> None:
    before = make(PatientIdentityRemoved="NO", DeidentificationMethod="Muster's own")
    output = deidentify(before, Profile.of("uids", "full-dates"), key=KEY)
    assert output.PatientIdentityRemoved == "YES"
    assert output.LongitudinalTemporalInformationModified == "UNMODIFIED"
    assert "Basic Profile" in output.DeidentificationMethod[1]
    assert list(output.DeidentificationMethod[2:]) == ["full-dates", "uids"]
    codes = [(item.CodeValue, item.CodingSchemeDesignator) for item in output.DeidentificationMethodCodeSequence]
    assert codes == [("113100", "DCM"), ("113106", "DCM"), ("113110", "DCM")]


def test_without_the_claim_nothing_is_claimed(make: Make) -> None:
    output = clean(make(), Profile(), key=KEY, identity_removed=False).dataset
    assert output.PatientIdentityRemoved == "NO"
    assert "DeidentificationMethodCodeSequence" not in output


def test_objects_that_refer_to_each_other_still_do(make: Make) -> None:
    image, report = make(), make()
    report.SOPInstanceUID = UID("1.2.3.5")
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedSOPSequence = image.SeriesInstanceUID, [reference]
    study = Dataset()
    study.StudyInstanceUID, study.ReferencedSeriesSequence = image.StudyInstanceUID, [series]
    report.CurrentRequestedProcedureEvidenceSequence = [study]
    new_image, new_report = (deidentify(one, Profile(), key=KEY) for one in (image, report))
    (new_study,) = new_report.CurrentRequestedProcedureEvidenceSequence
    (new_series,) = new_study.ReferencedSeriesSequence
    (new_reference,) = new_series.ReferencedSOPSequence
    assert new_study.StudyInstanceUID == new_image.StudyInstanceUID != image.StudyInstanceUID
    assert new_series.SeriesInstanceUID == new_image.SeriesInstanceUID
    assert new_reference.ReferencedSOPInstanceUID == new_image.SOPInstanceUID
    assert new_reference.ReferencedSOPClassUID == image.SOPClassUID
    assert new_image.file_meta.MediaStorageSOPInstanceUID == new_image.SOPInstanceUID


def test_dates_of_a_patient_move_together(make: Make) -> None:
    profile = Profile.of("modified-dates")
    first = deidentify(make(StudyDate="20200402", StudyTime="101112"), profile, key=KEY)
    second = deidentify(make(StudyDate="20200404", AcquisitionDateTime="20200404235959.5+0100"), profile, key=KEY)
    other = deidentify(make(StudyDate="20200402", PatientID="PAT-4712"), profile, key=KEY)
    assert int(second.StudyDate) - int(first.StudyDate) == 2
    assert second.AcquisitionDateTime == second.StudyDate + "235959.5+0100"
    assert first.StudyTime == "101112"
    assert other.StudyDate != first.StudyDate
    assert first.LongitudinalTemporalInformationModified == "MODIFIED"


@pytest.mark.parametrize(("value", "kept"), [("+0100", True), ("Muster", False)])
def test_a_time_zone_stays_with_the_times_where_it_is_one(make: Make, value: str, kept: bool) -> None:
    output = deidentify(make(TimezoneOffsetFromUTC=value), Profile.of("modified-dates"), key=KEY)
    assert output.get("TimezoneOffsetFromUTC") == (value if kept else None)


def test_a_date_that_is_none_gets_its_action_without_the_option(make: Make) -> None:
    dataset = make()
    dataset["StudyDate"] = DataElement(0x00080020, "DA", "2020MUST", validation_mode=config.IGNORE)
    output = deidentify(dataset, Profile.of("modified-dates"), key=KEY)
    assert output["StudyDate"].is_empty


def test_descriptions_keep_safe_words_only(make: Make) -> None:
    dataset = make(SeriesDescription="Thorax pa, Fr. Geheim", StudyDescription="Geheim", ImageComments="thorax Muster")
    output = deidentify(dataset, Profile.of("descriptors"), key=KEY)
    assert output.SeriesDescription == "Thorax pa"
    assert "StudyDescription" not in output
    assert output.ImageComments == "thorax"


def test_a_safe_word_that_is_a_name_goes(make: Make) -> None:
    dataset = make(SeriesDescription="hand ap", PatientName="Hand^Otto")
    result = clean(dataset, Profile.of("descriptors"), key=KEY)
    assert "SeriesDescription" not in result.dataset
    assert result.swept == 1


def test_copies_of_identifiers_in_other_texts_are_swept(make: Make) -> None:
    dataset = make(ManufacturerModelName="Scan of Muster", SequenceName="PAT4711", ProtocolName="x")
    dataset.PerformingPhysicianName = "Wirklich^Wilma"
    dataset.ConvolutionKernel = ["B31f", "wirklich"]
    result = clean(dataset, Profile(), key=KEY)
    assert result.swept == 3
    assert not {"ManufacturerModelName", "SequenceName", "ConvolutionKernel"} & set(result.dataset.dir())


def test_safe_private_elements_stay_with_their_creator_alone(make: Make) -> None:
    dataset = make()
    block = dataset.private_block(0x7053, "Philips PET Private Group", create=True)
    block.add_new(0x00, "DS", "1.5")
    block.add_new(0x01, "LO", "Planted")
    block.add_new(0x09, "LO", "Planted")  # a safe place, another VR
    other = dataset.private_block(0x0009, "SOMEBODY", create=True)
    other.add_new(0x00, "DS", "2.5")
    source = round_trip(dataset)
    kept = [
        str(element.tag)
        for element in deidentify(source, Profile.of("safe-private"), key=KEY)
        if element.tag.is_private
    ]
    assert kept == ["(7053,0010)", "(7053,1000)"]
    assert not any(element.tag.is_private for element in deidentify(source, Profile(), key=KEY))


def test_structured_content_keeps_codes_and_numbers_only_with_its_option(make: Make) -> None:
    dataset, item, name = make(), Dataset(), Dataset()
    name.CodeValue, name.CodingSchemeDesignator, name.CodeMeaning = "121071", "DCM", "Finding"
    item.ValueType, item.ConceptNameCodeSequence, item.TextValue = "TEXT", [name], "Planted"
    item.PersonName = "Planted^Paula"
    dataset.ContentSequence = [item]
    (cleaned,) = deidentify(dataset, Profile.of("structured-content"), key=KEY).ContentSequence
    assert cleaned.ConceptNameCodeSequence[0].CodeMeaning == "Finding"
    assert (cleaned.ValueType, cleaned.TextValue, cleaned.PersonName) == ("TEXT", "REMOVED", "REMOVED")
    (blank,) = deidentify(dataset, Profile(), key=KEY).ContentSequence
    assert blank.ConceptNameCodeSequence[0].CodeMeaning == "REMOVED"
    assert blank.ValueType == "TEXT"


def test_dummy_graphics_keep_their_shape_and_lose_their_places(make: Make) -> None:
    dataset, annotation, graphic = make(), Dataset(), Dataset()
    graphic.NumberOfGraphicPoints, graphic.GraphicData, graphic.GraphicType = 2, [1.5, 2.5, 3.5, 4.5], "POLYLINE"
    annotation.GraphicObjectSequence = [graphic]
    dataset.GraphicAnnotationSequence = [annotation]
    for source in (dataset, round_trip(dataset)):
        output = deidentify(source, Profile(), key=KEY)
        (drawn,) = output.GraphicAnnotationSequence[0].GraphicObjectSequence
        assert (list(drawn.GraphicData), drawn.NumberOfGraphicPoints, drawn.GraphicType) == ([0.0] * 4, 2, "POLYLINE")


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_pixels_and_numbers_stay_in_every_encoding(make: Make, syntax: UID) -> None:
    dataset = make(PixelSpacing=["0.1234567890123456789"[:16], "0.5"], SmallestImagePixelValue=0)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.add_new(0x00281101, "US", [0, 0, 16])
    little = syntax != ExplicitVRBigEndian
    if not little:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    source = dcmread(io.BytesIO(buffer.getvalue()))
    output = dcmread(io.BytesIO(encoded(deidentify(source, Profile(), key=KEY))))
    assert output.file_meta.TransferSyntaxUID == syntax
    np.testing.assert_array_equal(output.pixel_array, source.pixel_array)
    assert output.PixelSpacing == source.PixelSpacing
    assert output.RedPaletteColorLookupTableDescriptor == source.RedPaletteColorLookupTableDescriptor


def test_the_input_stays_and_the_output_is_the_same_each_time(make: Make) -> None:
    dataset = make(SeriesDescription="Thorax")
    before = copy.deepcopy(dataset)
    first, second = (encoded(deidentify(dataset, Profile(), key=KEY)) for _ in range(2))
    assert first == second
    assert dataset == before


def test_what_is_done_twice_changes_uids_only(make: Make) -> None:
    once = deidentify(make(), Profile.of("uids"), key=KEY)
    twice = deidentify(once, Profile.of("uids"), key=KEY)
    del once.PatientID, twice.PatientID  # a pseudonym of a pseudonym
    assert once == twice


@pytest.mark.parametrize("keyword", ["SOPClassUID", "SOPInstanceUID"])
def test_an_object_without_identity_of_its_own_is_left_out(make: Make, keyword: str) -> None:
    dataset = make()
    delattr(dataset, keyword)
    with pytest.raises(LeftOutError) as error:
        deidentify(dataset, Profile(), key=KEY)
    assert error.value.reason is Reason.UNREADABLE
