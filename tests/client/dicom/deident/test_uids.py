"""UIDs under a key."""

import re

import pytest

from client.dicom.deident.uids import mapped, structural

KEY = b"k" * 32


def test_the_same_uid_and_key_give_the_same_replacement() -> None:
    assert mapped("1.2.3.4", KEY) == mapped("1.2.3.4", KEY)
    assert len({mapped("1.2.3.4", KEY), mapped("1.2.3.5", KEY), mapped("1.2.3.4", b"x" * 32)}) == 3


def test_a_replacement_is_a_uid_by_the_uuid_route() -> None:
    assert re.fullmatch(r"2\.25\.[1-9][0-9]{0,38}", mapped("1.2.3.4", KEY))


@pytest.mark.parametrize("uid", ["", "1.2.840.10008.1.2.1", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.4.1.1"])
def test_uids_of_the_standard_stay(uid: str) -> None:
    assert mapped(uid, KEY) == structural(uid, KEY) == uid


@pytest.mark.parametrize("uid", ["2.16.840.1.113883.6.96", "1.2.840.10008.5.1.4.1.1.9999"])
def test_coding_schemes_and_classes_yet_unknown_stay_where_they_are_meant(uid: str) -> None:
    assert structural(uid, KEY) == uid
    assert mapped(uid, KEY) != uid


@pytest.mark.parametrize("uid", ["2.16.840.1.113883.3.933", "1.3.6.1.4.1.9590.100", "1.2.840.10008.MUSTER"])
def test_others_do_not_pass_as_structural(uid: str) -> None:
    assert structural(uid, KEY).startswith("2.25.")
