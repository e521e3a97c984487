"""Types of attributes: compared with PS3.3 for classes everybody has, and with highdicom's copy for all."""

from functools import cache

import pytest
from highdicom._standard_utils import get_iod_module_map, get_module_attribute_map, get_sop_class_iod_map

from client.dicom.deident.table import by_tag
from client.dicom.deident.types import required

CT, ENHANCED_MR, PET, RT_PLAN, NM_RETIRED = (
    f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("2", "4.1", "128", "481.5", "5")
)


@pytest.mark.parametrize(
    ("tag", "sop_class", "kind"),
    [
        (0x00080022, CT, 3),  # Acquisition Date
        (0x00080022, PET, 2),
        (0x0008002A, ENHANCED_MR, 1),  # Acquisition DateTime
        (0x00080080, CT, 3),  # Institution Name
        (0x00080023, CT, 2),  # Content Date
        (0x00181000, CT, 3),  # Device Serial Number
        (0x00181000, ENHANCED_MR, 1),
        (0x00100020, CT, 2),  # Patient ID
        (0x300A0006, RT_PLAN, 2),  # RT Plan Date
    ],
)
def test_types_are_those_of_the_standard(tag: int, sop_class: str, kind: int) -> None:
    assert required(tag, sop_class, root=True) == kind


@pytest.mark.parametrize("sop_class", [NM_RETIRED, "1.2.840.113619.4.26", ""])
def test_what_is_not_known_is_required(sop_class: str) -> None:
    assert required(0x00080022, sop_class, root=True) == 1


def test_in_items_everything_is_required() -> None:
    assert required(0x00080022, CT, root=False) == 1


@cache
def oracle() -> dict[tuple[int, str], int]:
    """Tag and SOP class → strongest type, by highdicom's tables."""
    wanted = {row.keyword: number for number, row in by_tag().items() if "/" in row.basic}
    found = dict[tuple[int, str], int]()
    modules = get_module_attribute_map()
    for sop_class, iod in get_sop_class_iod_map().items():
        for module in get_iod_module_map().get(iod, []):
            for attribute in modules.get(module["key"], []):
                if attribute["keyword"] in wanted and not attribute["path"]:
                    place = wanted[attribute["keyword"]], sop_class
                    found[place] = min(found.get(place, 3), int(attribute["type"][0]))
    return found


def test_types_are_those_of_another_copy_of_the_standard() -> None:
    wanted = [number for number, row in by_tag().items() if "/" in row.basic]
    known = [sop_class for sop_class in get_sop_class_iod_map() if required(0x00080022, sop_class, root=True) != 1]
    assert len(known) > 160
    assert {(tag, name): required(tag, name, root=True) for tag in wanted for name in known} == {
        (tag, name): oracle().get((tag, name), 3) for tag in wanted for name in known
    }
