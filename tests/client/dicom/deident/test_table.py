"""Table E.1-1 as we have it: counted, and compared row by row with the standard where a slip would cost most."""

from collections import Counter

import pytest
from pydicom.datadict import dictionary_has_tag, dictionary_keyword, dictionary_VR

from client.dicom.deident.profile import Option, Profile
from client.dicom.deident.table import Action, Row, by_tag, rows


def test_rows_are_counted() -> None:
    assert len(rows()) == 656
    assert Counter(row.basic for row in rows()) == {
        "X": 416, "D": 93, "U": 55, "Z": 42, "X/D": 23, "X/Z": 11, "X/Z/D": 8, "Z/D": 6, "X/Z/U*": 2,
    }  # fmt: skip
    assert Counter((option, action) for row in rows() for option, action in row.options.items()) == {
        (Option.UIDS, "K"): 59,
        (Option.DEVICE, "K"): 46,
        (Option.DEVICE, "C"): 11,
        (Option.INSTITUTION, "K"): 10,
        (Option.PATIENT, "K"): 9,
        (Option.PATIENT, "C"): 4,
        (Option.FULL_DATES, "K"): 165,
        (Option.MODIFIED_DATES, "C"): 165,
        (Option.DESCRIPTORS, "C"): 125,
        (Option.STRUCTURED, "C"): 3,
        (Option.GRAPHICS, "C"): 4,
        (Option.SAFE_PRIVATE, "C"): 1,
    }


def test_tags_are_in_order_and_named_once() -> None:
    numbers = [row.number for row in rows() if row.number is not None]
    assert numbers == sorted(set(numbers))
    assert [row.tag for row in rows() if row.number is None] == ["50xxxxxx", "60xx3000", "60xx4000", "odd"]


def test_keywords_are_those_of_the_dictionary() -> None:
    known = {number: row for number, row in by_tag().items() if dictionary_has_tag(number)}
    assert len(known) >= 627
    assert {number: row.keyword for number, row in known.items()} == {
        number: dictionary_keyword(number) for number in known
    }


def test_vrs_allow_what_the_table_demands() -> None:
    for number, row in by_tag().items():
        if dictionary_has_tag(number):
            assert row.basic != "U" or dictionary_VR(number) == "UI", row.keyword


# From PS3.15 Table E.1-1 as printed, by hand: tag, basic action, options.
BY_HAND = """
00080018 U uids=K
00080020 Z full-dates=K modified-dates=C
00080022 X/Z full-dates=K modified-dates=C
0008002A X/Z/D full-dates=K modified-dates=C
00080050 Z
00080080 X/Z/D institution=K
00080081 X institution=K
00080090 Z
00080092 X
00080201 X full-dates=K modified-dates=C
00081010 X/Z/D device=K
00081030 X descriptors=C
0008103E X descriptors=C
00081050 X
00081070 X/Z/D
00081110 X/Z uids=K
00081140 X/Z/U* uids=K
00081155 U uids=K
00082112 X/Z/U* uids=K
00100010 Z
00100020 Z/D
00100021 X
00100030 Z
00100040 Z patient=K
00101000 X
00101001 X
00101010 X patient=K
00101020 X patient=K
00101030 X patient=K
00101040 X
00102160 X patient=K
00104000 X descriptors=C
00120040 D
00180010 Z/D descriptors=C
00181000 X/Z/D device=K
00181002 U uids=K device=K
00181030 X/D descriptors=C
0020000D U uids=K
0020000E U uids=K
00200010 Z
00200052 U uids=K
00204000 X descriptors=C
00321060 X/Z descriptors=C
00400244 X full-dates=K modified-dates=C
00400275 X descriptors=C
0040A075 D
0040A123 D
0040A730 D structured-content=C
00420011 D
00700001 D graphics=C
00700084 Z/D
00880140 U uids=K
00880200 X
04000100 U
30060002 D descriptors=C
30060024 U uids=K
300A00B2 X/Z device=K
FFFAFFFA X
FFFCFFFC X
"""


@pytest.mark.parametrize("line", BY_HAND.split("\n")[1:-1])
def test_rows_are_those_of_the_standard(line: str) -> None:
    tag, basic, *options = line.split()
    row = by_tag()[int(tag, 16)]
    assert (row.basic, {f"{option}={action}" for option, action in row.options.items()}) == (basic, set(options))


@pytest.mark.parametrize(
    ("basic", "actions"),
    [
        ("X", "XXX"),
        ("X/Z", "ZZX"),
        ("X/D", "DDX"),
        ("Z/D", "DZZ"),
        ("X/Z/D", "DZX"),
        ("X/Z/U*", "UZX"),
        ("U", "UUU"),
    ],
)
def test_combined_actions_follow_the_type(basic: str, actions: str) -> None:
    row = Row("00080008", "ImageType", basic, {})
    assert "".join(row.basic_action(required) for required in (1, 2, 3)) == actions


def test_an_option_overrides_and_cleaning_wins_over_keeping() -> None:
    row = Row("00080008", "ImageType", "X", {Option.DEVICE: Action.KEEP, Option.DESCRIPTORS: Action.CLEAN})
    assert row.action(Profile(), 3) is Action.REMOVE
    assert row.action(Profile.of("device"), 3) is Action.KEEP
    assert row.action(Profile.of("device", "descriptors"), 3) is Action.CLEAN
