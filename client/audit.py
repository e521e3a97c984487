"""The audit log: one line per decision and per byte string that left, each bound to the line before it.

Guarantees: a line is on disk before what it tells leaves the house; changing, removing or inserting any line
breaks the chain, and `verify` says where (a cut-off tail shows against a head noted earlier). Lines hold
digests, sizes and purposes: no patient data.

    refused · waits · joined · approved · denied · reserved · prepared · answered     decisions and what was done
    sent                            bytes that left: digest (SHA-256), bytes, purpose, and run and round where known

Whoever may write the file can also write a new chain: what is noted elsewhere (the head) is what proves the log.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from shared.errors import MisuseError, SiteError
from shared.files import open_as_owner

GENESIS = "0" * 64
#: Bytes of the longest line `record` writes.
LONGEST_LINE = 65536


@dataclass(frozen=True)
class Head:
    """The log's newest line: how many lines there are, and its SHA-256 (64 hex digits), which stands for them all."""

    lines: int
    digest: str


@dataclass(frozen=True)
class Entry:
    """One line: its number from 1, its event, everything it tells, and its SHA-256."""

    line: int
    event: str
    facts: dict[str, Any]
    digest: str


class Audit:
    """Append-only JSON lines at `path`, shared by any number of processes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def record(self, event: str, **facts: str | int) -> str:
        """Append one line; returns the new head (64 hex digits). Raises SiteError if it cannot be on disk."""
        try:
            return self._append(event, facts)
        except OSError as error:
            raise SiteError(
                "audit log",
                expected="its next line on disk",
                got=error.strerror or "an I/O error",
                do="Free space or correct the permissions; until then nothing leaves this hospital.",
            ) from None

    def _append(self, event: str, facts: dict[str, str | int]) -> str:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(open_as_owner(self._path, os.O_RDWR | os.O_APPEND), "rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            head = _tail(file)
            line = {"n": head.lines, "at": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event}
            text = json.dumps({**line, **facts, "before": head.digest}, ensure_ascii=False, sort_keys=True)
            if len(text.encode()) >= LONGEST_LINE:
                raise MisuseError("audit line", expected=f"fewer than {LONGEST_LINE} bytes", got=str(len(text)))
            file.write(text.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        return hashlib.sha256(text.encode()).hexdigest()

    def entries(self) -> Iterator[Entry]:
        """Every line in order, each checked against the one before it; SiteError at the first that does not fit."""
        expected = GENESIS
        for number, line in enumerate(_lines(self._path), start=1):
            facts = _parsed(line, number)
            if facts["before"] != expected or facts["n"] != number - 1:
                raise _broken(number, "the hash and number of the line before it", "another")
            expected = hashlib.sha256(line[:-1]).hexdigest()
            yield Entry(number, facts["event"], facts, expected)

    def verify(self, *, head: str | None = None) -> int:
        """Number of lines, if the chain is whole and, where `head` was noted earlier, still contains it."""
        return self.head(noted=head).lines

    def head(self, *, noted: str | None = None) -> Head:
        """The newest line of a chain that is whole and, where a head was `noted` earlier, still contains it."""
        found, seen = Head(0, GENESIS), noted in (None, GENESIS)
        for entry in self.entries():
            found = Head(entry.line, entry.digest)
            seen = seen or entry.digest == noted
        if not seen:
            raise SiteError(
                "audit log",
                expected="the head noted earlier",
                got=f"{found.lines} lines without it",
                do="It was cut off or written anew; compare it with a backup.",
            )
        return found


def _lines(path: Path) -> Iterator[bytes]:
    if path.exists():
        with path.open("rb") as file:
            yield from iter(lambda: file.readline(LONGEST_LINE + 1), b"")


def _parsed(line: bytes, number: int) -> dict[str, Any]:
    """The facts of one line, or SiteError for one that `record` did not write or a power cut tore."""
    if not line.endswith(b"\n"):
        raise _broken(
            number, "a whole line", "a torn one", "A power cut can tear the last line; the next entry mends it."
        )
    try:
        facts = json.loads(line)
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict) or not {"n", "before"} <= facts.keys() or not isinstance(facts.get("event"), str):
        raise _broken(number, "a JSON object with n, event and before", f"{len(line)} bytes of something else")
    return facts


def _broken(
    number: int, expected: str, got: str, do: str = "The log was changed; compare it with a backup."
) -> SiteError:
    return SiteError(f"audit log line {number}", expected=expected, got=got, do=do)


def _tail(file: BinaryIO) -> Head:
    """The head that the next line follows, reading no more of the file than its end."""
    size = file.seek(0, os.SEEK_END)
    start = file.seek(max(0, size - 2 * LONGEST_LINE))
    data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):  # the last line was torn by a power cut: what it told had not left yet
        file.truncate(start + len(whole))
        file.seek(0, os.SEEK_END)
    if not whole:
        return Head(0, GENESIS)
    last = whole[:-1].rpartition(b"\n")[2]
    try:
        number = int(json.loads(last)["n"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise SiteError(
            "audit log",
            expected="a last line that this log wrote",
            got=f"{len(last)} bytes of something else",
            do="The log was changed; restore it from a backup. Until then nothing leaves this hospital.",
        ) from None
    return Head(number + 1, hashlib.sha256(last).hexdigest())
