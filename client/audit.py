"""The audit log: one line per decision and per byte string that left, each bound to the line before it.

Guarantees: a line is on disk before what it tells leaves the house; changing, removing or inserting any line
breaks the chain, and `verify` says where (a cut-off tail shows against a head noted earlier). Lines hold
digests, sizes and purposes: no patient data.
"""

import fcntl
import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from shared.errors import MisuseError, SiteError

GENESIS = "0" * 64
#: Bytes of the longest line `record` writes.
LONGEST_LINE = 65536


class Audit:
    """Append-only JSON lines at `path`, shared by any number of processes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def record(self, event: str, **facts: str | int) -> str:
        """Append one line; returns the new head (64 hex digits)."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            head, number = _tail(file)
            line = {"n": number, "at": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event}
            text = json.dumps({**line, **facts, "before": head}, ensure_ascii=False, sort_keys=True)
            if len(text.encode()) >= LONGEST_LINE:
                raise MisuseError("audit line", expected=f"fewer than {LONGEST_LINE} bytes", got=str(len(text)))
            file.write(text.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        return hashlib.sha256(text.encode()).hexdigest()

    def verify(self, *, head: str | None = None) -> int:
        """Number of lines, if the chain is whole and, where `head` was noted earlier, still contains it."""
        expected, seen = GENESIS, False
        lines = self._path.read_bytes().splitlines() if self._path.exists() else []
        for number, line in enumerate(lines):
            found = json.loads(line)
            if found["before"] != expected or found["n"] != number:
                raise SiteError(
                    f"audit log line {number + 1}",
                    expected="the hash of the line before it",
                    got="another",
                    do="The log was changed; compare it with a backup.",
                )
            expected = hashlib.sha256(line).hexdigest()
            seen = seen or expected == head
        if head is not None and not seen:
            raise SiteError(
                "audit log", expected="the head noted earlier", got="a log without it", do="It was cut off."
            )
        return len(lines)


def _tail(file: BinaryIO) -> tuple[str, int]:
    """Hash of the last line and the number of the next, reading no more of the file than its end."""
    size = file.seek(0, os.SEEK_END)
    start = file.seek(max(0, size - 2 * LONGEST_LINE))
    data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):  # the last line was torn by a power cut: what it told had not left yet
        file.truncate(start + len(whole))
        file.seek(0, os.SEEK_END)
    lines = whole.splitlines()
    if not lines:
        return GENESIS, 0
    return hashlib.sha256(lines[-1]).hexdigest(), int(json.loads(lines[-1])["n"]) + 1
