"""What was pulled from where: one row per series of a source, so that a second pull asks only for what is missing.

Guarantees: no identity (keyed hashes only); a row is on disk before the next series begins; what a row says was
received is believed only as long as the store holds it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from client.dicom.keys import short_key
from shared.database import open_database, transaction

_SCHEMA = """
CREATE TABLE series (
  source TEXT NOT NULL, series BLOB NOT NULL, told INTEGER NOT NULL, asked INTEGER NOT NULL,
  received INTEGER NOT NULL, tries INTEGER NOT NULL, PRIMARY KEY (source, series)
) WITHOUT ROWID
"""


@dataclass(frozen=True)
class Past:
    """Of one series, at its last pull: objects the source said it had, objects asked for, objects here afterwards, and
    pulls in a row that did not get all of them."""

    told: int
    asked: int
    received: int
    tries: int


class Journal:
    """The database at `path`, made if need be; `key` is the site's. A context manager. Raises SiteError."""

    def __init__(self, path: Path, key: bytes) -> None:
        self._database = open_database(path, _SCHEMA, version=1)
        self._key = key

    def past(self, source: str, series_uid: str) -> Past | None:
        """What is known of a series; None if it was never pulled."""
        row = self._database.execute(
            "SELECT told, asked, received, tries FROM series WHERE source = ? AND series = ?",
            (source, short_key(self._key, "series", series_uid.encode())),
        ).fetchone()
        return Past(*row) if row else None

    def write(self, source: str, series_uid: str, past: Past) -> None:
        """Remember `past` instead of what was known."""
        row = (source, short_key(self._key, "series", series_uid.encode()))
        with transaction(self._database):
            self._database.execute(
                "INSERT OR REPLACE INTO series VALUES (?, ?, ?, ?, ?, ?)",
                (*row, past.told, past.asked, past.received, past.tries),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()
