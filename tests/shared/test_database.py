from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from shared.database import open_database, transaction
from shared.errors import SiteError

SCHEMA = "CREATE TABLE one (x INTEGER); CREATE TABLE two (y INTEGER)"


def add(path: Path) -> None:
    database = open_database(path, SCHEMA, version=1)
    with transaction(database):
        database.execute("INSERT INTO one VALUES (1)")
    database.close()


def test_many_processes_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("fork")) as pool:
        for trial in range(8):
            list(pool.map(add, [tmp_path / f"{trial}.sqlite"] * 4))
    for trial in range(8):
        database = open_database(tmp_path / f"{trial}.sqlite", SCHEMA, version=1)
        assert database.execute("SELECT count(*) FROM one").fetchone() == (4,)
        database.close()


def test_all_or_nothing(tmp_path: Path) -> None:
    database = open_database(tmp_path / "a.sqlite", SCHEMA, version=1)
    with pytest.raises(ZeroDivisionError), transaction(database):
        database.execute("INSERT INTO one VALUES (1)")
        raise ZeroDivisionError
    assert database.execute("SELECT count(*) FROM one").fetchone() == (0,)
    database.close()


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    open_database(tmp_path / "a.sqlite", SCHEMA, version=2).close()
    with pytest.raises(SiteError, match="Upgrade Konsil here"):
        open_database(tmp_path / "a.sqlite", SCHEMA, version=1)
    assert (tmp_path / "a.sqlite").stat().st_mode & 0o077 == 0
