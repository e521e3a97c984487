from collections.abc import Callable
from pathlib import Path

import pytest

from client.dicom.item import Location
from client.dicom.labels.faults import MaskError
from client.dicom.labels.mask_table import read_mask_table
from client.dicom.reasons import Reason
from client.dicom.scanning.entry import Entry
from shared.errors import InputError

KEY = b"k" * 32
WriteTable = Callable[..., Path]


def test_the_most_specific_row_names_the_file(table: WriteTable, entry: Entry) -> None:
    path = table("patient_id,sop_instance_uid,mask,label\nP1,,p.png,a\nP1,1.1,deep\\1.png,a\n")
    found = read_mask_table(path, KEY)
    assert found.of(entry) == Location(path.parent / "deep" / "1.png")
    assert found.rows == 2
    assert "1.png" not in repr(found)


def test_no_row_and_two_that_differ(table: WriteTable, entry: Entry) -> None:
    assert read_mask_table(table("patient_id,mask\nP1,\nP2,a\n"), KEY).of(entry) is Reason.NO_LABEL
    path = table("patient_id,mask\nP1,a.png\nP1,b.png\nP1,a.png\n")
    assert read_mask_table(path, KEY).of(entry) is Reason.LABEL_CONFLICT


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "a/../../b.png", "link/b.png"])
def test_a_name_that_leads_outside_is_refused(table: WriteTable, entry: Entry, name: str) -> None:
    path = table(f"patient_id,mask\nP1,{name}\n")
    (path.parent / "link").symlink_to("/")
    with pytest.raises(MaskError, match="no_image"):
        read_mask_table(path, KEY).of(entry)


def test_a_name_that_can_be_none(table: WriteTable, entry: Entry) -> None:
    with pytest.raises(MaskError, match="unreadable"):
        read_mask_table(table("patient_id,mask\nP1,a\0b\n"), KEY).of(entry)


def test_a_table_without_the_column(table: WriteTable) -> None:
    with pytest.raises(InputError, match="expected a column 'mask', got patient_id, label"):
        read_mask_table(table("patient_id,label\nP1,a\n"), KEY)
