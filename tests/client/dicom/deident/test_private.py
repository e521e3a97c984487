"""Safe private attributes."""

import pytest
from pydicom.datadict import private_dictionary_VR
from pydicom.tag import Tag

from client.dicom.deident.private import creator_tag, is_safe, safe


def test_only_numbers_are_safe() -> None:
    assert set(safe().values()) <= {"DS", "IS", "US", "SS", "SL", "FL"}
    assert all(group % 2 and element < 0x100 for group, element, _ in safe())


def test_vrs_are_those_of_pydicoms_private_dictionary_where_it_knows_them() -> None:
    known = 0
    for (group, element, creator), vr in safe().items():
        try:
            assert private_dictionary_VR((group, 0x1000 | element), creator) == vr
        except KeyError:
            continue
        known += 1
    assert known >= 10


@pytest.mark.parametrize(
    ("tag", "creator", "vr", "result"),
    [
        (0x70531000, "Philips PET Private Group", "DS", True),
        (0x7053AB09, "Philips PET Private Group", "DS", True),  # in whichever block
        (0x70531000, "Philips PET Private Group", "LO", False),
        (0x70531000, "Somebody else", "DS", False),
        (0x70531001, "Philips PET Private Group", "DS", False),
    ],
)
def test_creator_element_and_vr_must_agree(tag: int, creator: str, vr: str, result: bool) -> None:
    assert is_safe(tag, creator, vr) is result


def test_the_creator_of_a_block() -> None:
    assert creator_tag(Tag(0x7053, 0xAB09)) == Tag(0x7053, 0x00AB)
