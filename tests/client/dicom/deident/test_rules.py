"""Rules for elements that the table does not list."""

import pytest
from pydicom._dicom_dict import DicomDictionary

from client.dicom.deident.profile import Profile
from client.dicom.deident.rules import Rules
from client.dicom.deident.table import Action, by_tag

CT = "1.2.840.10008.5.1.4.1.1.2"


@pytest.mark.parametrize(
    ("tag", "vr", "letter"),
    [
        (0x00280010, "US", "K"),  # Rows
        (0x00280010, "LO", "X"),  # Rows as text
        (0x00280010, "OB", "X"),  # Rows as bytes
        (0x00280106, "SS", "K"),  # US or SS
        (0x7FE00010, "OW", "K"),
        (0x00080060, "CS", "K"),
        (0x00080060, "UN", "X"),
        (0x00080000, "UL", "X"),  # a group length
        (0x00020016, "AE", "X"),  # file meta
        (0x00041130, "CS", "X"),  # of a DICOMDIR
        (0x00081234, "LO", "X"),  # not in the dictionary
        (0x50000005, "US", "X"),  # Curve Dimensions
        (0x60000022, "LO", "X"),  # Overlay Description
        (0x60000010, "US", "X"),  # Overlay Rows: without its data there is no overlay
        (0x00142006, "PN", "X"),  # Evaluator Name
        (0x00142006, "LO", "X"),
        (0x00081190, "UR", "X"),  # Retrieve URL
        (0x00209312, "UI", "U"),  # Volume Frame of Reference UID
        (0x00141020, "DA", "D"),  # Expiry Date
        (0x0018003A, "ST", "D"),  # Intervention Description
        (0x00081090, "LO", "K"),  # Manufacturer's Model Name
    ],
)
def test_what_is_not_listed(tag: int, vr: str, letter: str) -> None:
    assert Rules(Profile(), CT).action(tag, vr, root=True) == letter


@pytest.mark.parametrize(
    ("option", "tag", "vr", "letter"),
    [
        ("uids", 0x00209312, "UI", "K"),
        ("full-dates", 0x00141020, "DA", "K"),
        ("full-dates", 0x00143077, "TM", "K"),
        ("modified-dates", 0x00141020, "DA", "C"),
        ("modified-dates", 0x00143077, "TM", "K"),
        ("modified-dates", 0x00080020, "DA", "C"),
        ("modified-dates", 0x00080030, "TM", "K"),
        ("modified-dates", 0x00080201, "SH", "C"),
        ("descriptors", 0x0018003A, "ST", "C"),
        ("descriptors", 0x00081030, "LO", "C"),
        ("descriptors", 0x00081084, "SQ", "X"),  # Admitting Diagnoses Code Sequence: beyond us
        ("device", 0x00080055, "AE", "X"),  # Station AE Title: beyond us
        ("structured-content", 0x0040A730, "SQ", "K"),
        ("graphics", 0x00700001, "SQ", "D"),
        ("institution", 0x00080080, "LO", "K"),
        ("institution", 0x00080080, "OB", "X"),  # kept only as what it is
    ],
)
def test_what_options_change(option: str, tag: int, vr: str, letter: str) -> None:
    assert Rules(Profile.of(option), CT).action(tag, vr, root=True) == letter


def test_no_name_date_address_or_instance_passes_unlisted() -> None:
    rules = Rules(Profile(), CT)
    for tag, (vr, *_) in DicomDictionary.items():
        if tag not in by_tag() and vr in ("PN", "DA", "DT", "TM", "AE", "UI", "UN", "ST", "LT", "UT"):
            assert rules.action(tag, vr, root=True) is not Action.KEEP, hex(tag)
