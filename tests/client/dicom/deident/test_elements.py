"""Elements as the engine reads them."""

import pytest
from pydicom import config
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from client.dicom.deident.elements import Element, announced_vr, blanked, kept, read, standard_vr, texts, uniform
from tests.client.dicom.conftest import Make
from tests.client.dicom.deident.conftest import round_trip


def element(tag: int, vr: str, value: object) -> Element:
    return Element(Tag(tag), vr, DataElement(tag, vr, value, validation_mode=config.IGNORE))


def raw(tag: int, vr: str, value: bytes) -> Element:
    return Element(Tag(tag), vr, RawDataElement(Tag(tag), vr, len(value), value, 0, False, True))


def test_numbers_and_pixels_stay_bytes_and_texts_are_decoded(make: Make) -> None:
    dataset = round_trip(make(PixelSpacing=["0.5", "0.5"]))
    for tag, is_raw in ((0x00280010, True), (0x00280030, True), (0x7FE00010, True), (0x00080060, False)):
        found = read(dataset, Tag(tag))
        assert found is not None
        assert isinstance(found.source, RawDataElement) is is_raw


def test_what_is_not_there_or_not_readable_is_none() -> None:
    dataset = Dataset()
    tag = Tag(0x00289110)
    assert read(dataset, tag) is None
    dataset[tag] = RawDataElement(tag, "SQ", 6, b"Muster", 0, False, True)
    assert read(dataset, tag) is None


@pytest.mark.parametrize(
    ("one", "values"),
    [
        (element(0x00081010, "SH", "a"), ["a"]),
        (element(0x00081070, "PN", ["A^B", "C"]), ["A^B", "C"]),
        (element(0x00100010, "PN", "A^B=C"), ["A^B=C"]),
        (element(0x00081010, "SH", None), []),
        (raw(0x00280030, "DS", b"0.5\\0.25 "), ["0.5", "0.25"]),
        (raw(0x00280030, "DS", b""), []),
        (element(0x00280009, "AT", [0x00181063]), [str(Tag(0x00181063))]),
    ],
)
def test_values_as_texts(one: Element, values: list[str]) -> None:
    assert texts(one) == values


@pytest.mark.parametrize(
    ("vr", "value", "stays"),
    [
        ("DS", b"0.12345678901234567890", True),  # too long for PS3.5, and common
        ("DS", b"1e-5\\-2.0 ", True),
        ("DS", b"Muster", False),
        ("IS", b"12\\-3 ", True),
        ("IS", b"12 Muster", False),
    ],
)
def test_numbers_stay_where_they_are_numbers(vr: str, value: bytes, stays: bool) -> None:
    assert (kept(raw(0x00280030, vr, value)) is not None) is stays


@pytest.mark.parametrize(
    ("vr", "value", "stays"),
    [
        ("CS", ["ORIGINAL", "M_FFE"], True),
        ("CS", "MUSTER, ERIKA", False),
        ("CS", "Müller", False),
        ("AS", "041Y", True),
        ("AS", "Muster", False),
        ("DA", "20200402", True),
        ("DA", "Muster", False),
        ("TM", "101112.5", True),
        ("TM", "Muster", False),
        ("DT", "20200402101112+0100", True),
        ("UI", "1.2.3", True),
        ("UI", "1.2.Muster", False),
        ("LO", "anything", True),
    ],
)
def test_codes_and_times_stay_where_they_are_such(vr: str, value: object, stays: bool) -> None:
    assert (kept(element(0x00080008, vr, value)) is not None) is stays


@pytest.mark.parametrize(
    ("one", "value"),
    [
        (element(0x00700006, "ST", "Muster"), "REMOVED"),
        (element(0x00700022, "FL", [1.5, 2.5]), [0.0, 0.0]),
        (raw(0x00700022, "FL", b"\1" * 12), [0.0, 0.0, 0.0]),
        (raw(0x00280030, "DS", b"1\\2"), [0, 0]),
        (raw(0x00700021, "US", b"\2\0"), b"\2\0"),
        (element(0x00700023, "CS", "POLYLINE"), "POLYLINE"),
        (element(0x00080104, "LO", None), None),
    ],
)
def test_blank_values_are_as_many(one: Element, value: object) -> None:
    made = blanked(one)
    assert made is not None
    assert made.value == value


def test_the_standards_vr() -> None:
    assert standard_vr(0x00100010) == "PN"
    assert standard_vr(0x00280106) == "US"  # US or SS
    assert standard_vr(0x00101234) == "UN"


def test_the_vr_is_told_before_anything_is_read(make: Make) -> None:
    dataset = round_trip(make())
    assert announced_vr(dataset, Tag(0x00100010)) == "PN"
    assert isinstance(dataset.get_item(0x00100010), RawDataElement)


def test_an_object_that_changes_its_encoding_is_not_uniform(make: Make) -> None:
    dataset = round_trip(make())
    assert uniform(dataset)
    dataset[0x00200011] = RawDataElement(Tag(0x00200011), None, 2, b"1 ", 0, True, True)
    assert not uniform(dataset)


def test_values_are_not_in_the_repr() -> None:
    assert "Muster" not in repr(element(0x00100010, "PN", "Muster"))
