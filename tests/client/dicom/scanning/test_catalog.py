import sqlite3
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from client.dicom.reasons import Reason
from client.dicom.scanning.catalog import VERSION, Batch, Catalog, Entry, Known
from client.dicom.scanning.entry import row_of
from client.dicom.scanning.scan import scan
from shared.errors import SiteError

Write = Callable[..., Path]

KEY = b"k" * 32
ENTRY = Entry(file=b"f" * 16, size=1, mtime_ns=2, inode=3, sop=b"s" * 16, series=b"t" * 16, modality="CT")


def put(catalog: Catalog, *entries: Entry, page: int = 1) -> None:
    opened = [] if catalog.last_page() >= page else [(page, b"page %d" % page)]
    settled = [(b"digest", len(entries), page)]
    catalog.write(Batch(opened, [(page, *row_of(entry)) for entry in entries], settled=settled))


def test_columns_are_the_page_and_the_fields_in_order(tmp_path: Path) -> None:
    with Catalog(tmp_path / "c.sqlite"):
        columns = sqlite3.connect(tmp_path / "c.sqlite").execute("PRAGMA table_info(entry)").fetchall()
    assert [column[1] for column in columns] == ["page", *(field.name for field in fields(Entry))]


def test_what_is_written_survives_closing(tmp_path: Path) -> None:
    with Catalog(tmp_path / "c.sqlite") as catalog:
        put(catalog, ENTRY)
        catalog.record_failures(b"spec", {ENTRY.file: Reason.DECODE_FAILED})
    with Catalog(tmp_path / "c.sqlite") as catalog:
        assert list(catalog.entries()) == [ENTRY]
        assert catalog.failures(b"spec") == {ENTRY.file: Reason.DECODE_FAILED}
        assert catalog.failures(b"other") == {}
        assert catalog.page(b"page 1") == (1, b"digest", 1)
        assert catalog.page(b"other") is None
        assert (catalog.last_page(), catalog.usable()) == (1, 1)


def test_failures_are_of_one_tensor_and_add_up(tmp_path: Path) -> None:
    with Catalog(tmp_path / "c.sqlite") as catalog:
        catalog.record_failures(b"spec", {b"one": Reason.DECODE_FAILED, b"two": Reason.TRUNCATED})
        catalog.record_failures(b"other", {b"one": Reason.TRUNCATED})
        catalog.record_failures(b"spec", {b"three": Reason.TRUNCATED})
        assert sorted(catalog.failures(b"spec")) == [b"one", b"three", b"two"]
        assert catalog.failures(b"other") == {b"one": Reason.TRUNCATED}


def test_a_batch_is_whole_or_absent(tmp_path: Path) -> None:
    nothing: Any = None
    with Catalog(tmp_path / "c.sqlite") as catalog:
        with pytest.raises(SiteError):
            put(catalog, ENTRY, replace(ENTRY, file=b"g", modality=nothing))
        assert list(catalog.entries()) == []
        assert catalog.page(b"page 1") is None


def test_what_is_known_of_files(tmp_path: Path) -> None:
    many = [replace(ENTRY, file=b"%016d" % number, size=number) for number in range(2500)]
    with Catalog(tmp_path / "c.sqlite") as catalog:
        put(catalog, *many)
        known = catalog.known([entry.file for entry in many] + [b"other"])
        assert len(known) == 2500
        assert known[b"%016d" % 2000] == Known(1, (2000, 2, 3), "")
        assert sorted(catalog.on_page(1)) == [entry.file for entry in many]
        assert catalog.on_page(2) == []


def test_pages_that_are_gone_take_their_files_along(tmp_path: Path) -> None:
    other = replace(ENTRY, file=b"g")
    with Catalog(tmp_path / "c.sqlite") as catalog:
        put(catalog, ENTRY)
        put(catalog, other, page=2)
        assert catalog.keep_only({1, 2}) == 0
        assert catalog.keep_only({2}) == 1
        assert list(catalog.entries()) == [other]
        assert catalog.page(b"page 1") is None


def test_series_are_streamed_whole_and_in_order(tmp_path: Path) -> None:
    names = [("b", "2"), ("a", "9"), ("", "5"), ("b", "1"), ("", "4"), ("a", "3")]
    entries = [replace(ENTRY, series=series.encode(), file=file.encode()) for series, file in names]
    with Catalog(tmp_path / "c.sqlite") as catalog:
        put(catalog, *entries)
        found = [[(entry.series, entry.file) for entry in files] for files in catalog.series_entries()]
    assert found == [[(b"", b"4")], [(b"", b"5")], [(b"a", b"3"), (b"a", b"9")], [(b"b", b"1"), (b"b", b"2")]]


def test_series(tmp_path: Path) -> None:
    with Catalog(tmp_path / "c.sqlite") as catalog:
        put(catalog, ENTRY, replace(ENTRY, file=b"g", fault="truncated"), replace(ENTRY, file=b"h", series=b""))
        (series,) = catalog.series()
    assert (series.modality, series.files, series.usable, dict(series.faults)) == ("CT", 2, 1, {"truncated": 1})


def test_objects_that_are_there_twice(tmp_path: Path) -> None:
    copies = [replace(ENTRY, file=name) for name in (b"a", b"b", b"c")]
    broken, other = replace(ENTRY, file=b"d", fault="truncated"), replace(ENTRY, file=b"e", sop=b"u" * 16)
    nameless = [replace(ENTRY, file=name, sop=b"") for name in (b"x", b"y")]
    corrected = replace(ENTRY, file=b"f", patient=b"q" * 32)
    with Catalog(tmp_path / "c.sqlite") as catalog:
        put(catalog, *copies, broken, other, *nameless, corrected)
        (found,) = catalog.repeated()
    assert {entry.file for entry in found} == {b"a", b"b", b"c", b"f"}


def test_whether_it_holds_dicom(tmp_path: Path) -> None:
    with Catalog(tmp_path / "c.sqlite") as catalog:
        put(catalog, replace(ENTRY, fault="not_dicom"), replace(ENTRY, file=b"g", fault="special_file"))
        assert not catalog.holds_dicom()
        put(catalog, replace(ENTRY, fault="truncated"))
        assert catalog.holds_dicom()


def test_a_damaged_value_is_said(tmp_path: Path) -> None:
    with Catalog(tmp_path / "c.sqlite") as catalog:
        put(catalog, replace(ENTRY, fault="nonsense"))
        with pytest.raises(SiteError, match="if it is damaged, delete it"):
            list(catalog.entries())


def test_what_is_no_catalog_is_said(tmp_path: Path) -> None:
    (tmp_path / "c.sqlite").write_text("this is not a database, however long it is" * 100)
    with pytest.raises(SiteError, match="the next scan makes a new one"):
        Catalog(tmp_path / "c.sqlite")


def test_a_later_version_is_refused_and_an_older_one_emptied(tmp_path: Path) -> None:
    with Catalog(tmp_path / "c.sqlite") as catalog:
        put(catalog, ENTRY)
    connection = sqlite3.connect(tmp_path / "c.sqlite")
    connection.execute("PRAGMA user_version = 99")
    with pytest.raises(SiteError, match="version 99"):
        Catalog(tmp_path / "c.sqlite")
    connection.execute(f"PRAGMA user_version = {VERSION - 1}")
    connection.close()
    with Catalog(tmp_path / "c.sqlite") as catalog:
        assert list(catalog.entries()) == []
        put(catalog, ENTRY)


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
