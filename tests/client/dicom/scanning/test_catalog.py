import sqlite3
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from client.dicom.reasons import Reason
from client.dicom.scanning.catalog import Catalog, Entry
from client.dicom.scanning.scan import scan
from shared.errors import SiteError

Write = Callable[..., Path]

KEY = b"k" * 32
ENTRY = Entry(file=b"f" * 16, size=1, mtime_ns=2, inode=3, sop=b"s" * 16, series=b"t" * 16, modality="CT")


def test_columns_are_the_fields_in_order(tmp_path: Path) -> None:
    with Catalog(tmp_path / "c.sqlite"):
        columns = sqlite3.connect(tmp_path / "c.sqlite").execute("PRAGMA table_info(entry)").fetchall()
    assert [column[1] for column in columns] == [field.name for field in fields(Entry)]


def test_entries_survive_closing(tmp_path: Path) -> None:
    with Catalog(tmp_path / "c.sqlite") as catalog:
        catalog.put([ENTRY])
        catalog.record_failures(b"spec", {ENTRY.file: Reason.DECODE_FAILED})
    with Catalog(tmp_path / "c.sqlite") as catalog:
        assert catalog.entries() == {ENTRY.file: ENTRY}
        assert catalog.failures(b"spec") == {ENTRY.file: Reason.DECODE_FAILED}
        assert catalog.failures(b"other") == {}


def test_a_changed_file_may_be_decoded_again(tmp_path: Path) -> None:
    with Catalog(tmp_path / "c.sqlite") as catalog:
        catalog.put([ENTRY])
        catalog.record_failures(b"spec", {ENTRY.file: Reason.DECODE_FAILED})
        catalog.put([replace(ENTRY, mtime_ns=9)])
        assert catalog.failures(b"spec") == {}


def test_a_batch_is_whole_or_absent(tmp_path: Path) -> None:
    nothing: Any = None
    with Catalog(tmp_path / "c.sqlite") as catalog:
        with pytest.raises(SiteError):
            catalog.put([ENTRY, replace(ENTRY, file=b"g", modality=nothing)])
        assert catalog.entries() == {}


def test_series(tmp_path: Path) -> None:
    with Catalog(tmp_path / "c.sqlite") as catalog:
        catalog.put([ENTRY, replace(ENTRY, file=b"g", fault="truncated"), replace(ENTRY, file=b"h", series=b"")])
        (series,) = catalog.series()
    assert (series.modality, series.files, series.usable, dict(series.faults)) == ("CT", 2, 1, {"truncated": 1})


def test_what_is_no_catalog_is_said(tmp_path: Path) -> None:
    (tmp_path / "c.sqlite").write_text("this is not a database, however long it is" * 100)
    with pytest.raises(SiteError, match="the next scan makes a new one"):
        Catalog(tmp_path / "c.sqlite")


def test_another_version_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "c.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(SiteError, match="version 99"):
        Catalog(tmp_path / "c.sqlite")


def test_an_archive_has_its_own_catalog(tmp_path: Path) -> None:
    with (
        Catalog.of(tmp_path / "a", tmp_path / "home") as first,
        Catalog.of(tmp_path / "b", tmp_path / "home") as second,
    ):
        assert first.path != second.path


def test_no_identity_in_any_byte(write: Write, tmp_path: Path) -> None:
    for number in range(3):
        write(f"Muster Erika PAT-4711/{number}.dcm", number)
    with Catalog(tmp_path / "c.sqlite") as catalog:
        assert scan(tmp_path / "archive", catalog, key=KEY).usable == 3
        for path in tmp_path.glob("c.sqlite*"):
            data = path.read_bytes()
            for secret in (b"4711", b"Muster", b"Erika", b"2.25."):
                assert secret not in data, path
