"""Codes that somebody made up."""

import pytest
from pydicom.dataset import Dataset

from client.dicom.deident.codes import is_local


@pytest.mark.parametrize(
    ("scheme", "local"),
    [("DCM", False), ("SCT", False), ("99SDM", False), ("99KLINIK", True), ("L", True), ("", False)],
)
def test_local_schemes_are_told_by_their_designator(scheme: str, local: bool) -> None:
    item = Dataset()
    item.CodingSchemeDesignator = scheme
    assert is_local(item) is local


def test_an_item_that_is_no_code_is_not_local() -> None:
    assert not is_local(Dataset())
