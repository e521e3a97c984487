"""Other ledgers: a backup of this one, or one whose archive key is lost. The file given is copied, never changed."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from client.ledger.ledger import Ledger
from client.ledger.past import Past
from shared.errors import InputError, SiteError

_MAGIC = b"SQLite format 3\0"


def is_ledger(path: Path) -> bool:
    """Whether the file at `path` is a database. Raises InputError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError as error:
        raise InputError(
            str(path), expected="a file to import", got=error.strerror or "an I/O error", do="Check the path."
        ) from None


@contextmanager
def opened(path: Path) -> Iterator[Ledger]:
    """A copy of the ledger at `path`, brought up to today's format. Raises SiteError if it is none."""
    with tempfile.TemporaryDirectory(prefix="konsil-") as folder:
        copy = Path(folder) / "ledger.sqlite"
        try:
            for end in ("", "-wal"):  # what is committed may stand in the file beside it alone
                if (beside := path.with_name(path.name + end)).exists():
                    shutil.copyfile(beside, copy.with_name(copy.name + end))
        except OSError as error:
            raise SiteError(f"copying {path.name}", got=error.strerror or "an I/O error", do="Free space.") from None
        ledger = Ledger(copy)
        try:
            yield ledger
        finally:
            ledger.close()


def pasts_of(other: Ledger, into: Ledger, *, everyone: bool) -> tuple[Past, ...]:
    """What `other` holds, to be taken over by `into`; charged to `everyone` where its patients have other names.

    Raises SiteError where the two name patients under different keys, or nothing tells, and it is not for everyone.
    """
    if everyone and other.tag is not None and other.tag == into.tag:
        raise SiteError(
            "ledger to import",
            expected="with --everyone, one whose key is lost",
            got="one of keys/archive.key as it is now",
            do="Import it without --everyone: each patient is then charged what is its own.",
        )
    if not everyone and not _same_names(other, into):
        raise SiteError(
            "ledger to import",
            expected="one whose patients are named under keys/archive.key as it is now",
            got="one of another key",
            do="Import it with --everyone: what it holds is then charged to every patient, now and to come.",
        )
    return other.history(everyone=everyone)


def _same_names(other: Ledger, into: Ledger) -> bool:
    """By the keys' tags; by a patient whom both know, where `other` is too old to have one."""
    if other.tag is not None and into.tag is not None:
        return other.tag == into.tag
    theirs, ours = other.patients(), into.patients()
    return not theirs or not ours or not theirs.isdisjoint(ours)
