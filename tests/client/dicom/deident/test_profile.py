"""Profiles: what they refuse and what they claim."""

import pytest
from pydicom.sr.codedict import codes

from client.dicom.deident.profile import BASIC_CODE, CLEAN, CODES, RETAIN, Option, Profile
from shared.errors import InputError


def test_options_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(InputError, match="full-dates or modified-dates, got both"):
        Profile.of("full-dates", "modified-dates")


def test_an_unknown_option_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="got 'everything'"):
        Profile.of("everything")


@pytest.mark.parametrize(
    ("names", "temporal"), [((), "REMOVED"), (("full-dates",), "UNMODIFIED"), (("modified-dates", "uids"), "MODIFIED")]
)
def test_what_became_of_dates(names: tuple[str, ...], temporal: str) -> None:
    assert Profile.of(*names).temporal == temporal


def test_every_option_is_one_to_retain_or_one_to_clean() -> None:
    assert sorted((*RETAIN, *CLEAN)) == sorted(Option)


def test_codes_and_meanings_are_those_of_cid_7050() -> None:
    known = {code.value: code.meaning for code in (getattr(codes.CID7050, name) for name in codes.CID7050.dir())}
    ours = dict((BASIC_CODE, *CODES.values()))
    assert {value: known[value] for value in ours} == ours
    assert set(known) - set(ours) == {"113101", "113102"}  # Clean Pixel Data, Clean Recognizable Visual Features
    assert set(CODES) == set(Option)


def test_only_what_is_done_is_claimed() -> None:
    assert Profile().codes == (("113100", "Basic Application Confidentiality Profile"),)
    assert [value for value, _ in Profile.of("uids", "graphics").codes] == ["113100", "113103", "113110"]
