"""The coordinator's log of what it received: one JSON line per reply, written as it comes in.

Guarantees: a reply is in the log before anything is done with it; lines are only ever added. A hospital holds them
against its own audit log (`konsil-client audit verify --receipts`): what it says it sent, and what came, are the same.
Lines hold digests and sizes, no content.
"""

import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from server.text import printable
from shared.errors import OperatorError, PeerError
from shared.messages.replies import Joined, Refused, read_reply
from shared.receipts import Receipt
from shared.wire import read_json

#: Characters kept of the name that a reply itself claims.
LONGEST_NAME = 64
#: Bytes of the longest line.
LONGEST_LINE = 1 << 16


class Receipts:
    """The log at `path`, for any number of runs."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, data: bytes, *, node: int, site: str, run: str, round_: int, asked: str) -> None:
        """Add the reply `data` to the question `asked` ("join", the plan's step, "unmask").

        `site` is the name behind `node`, or empty before it has joined: then the reply's own claim is noted.
        """
        body = _read(data)
        claimed = body.record.site if isinstance(body, Joined) else body.site if isinstance(body, Refused) else ""
        receipt = Receipt(
            at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            site=site or printable(claimed[:LONGEST_NAME], LONGEST_NAME) or f"node {node}",
            run=run,
            round=round_,
            purpose="refusal" if isinstance(body, Refused) else asked,
            sha256=hashlib.sha256(data).hexdigest(),
            bytes=len(data),
        )
        self._append(msgspec.json.encode(receipt) + b"\n")

    def lines(self) -> Iterator[Receipt]:
        """Every receipt so far. Raises OperatorError at a line that is none: one that a power cut tore, say."""
        if self._path.exists():
            with self._path.open("rb") as file:
                for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), start=1):
                    yield _receipt(line, f"{self._path.name} line {number}")

    def _append(self, line: bytes) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OperatorError(
                f"receipts {self._path.name}",
                expected="its next line on disk",
                got=error.strerror or "an I/O error",
                do="Free space, then --resume.",
            ) from None


def _receipt(line: bytes, place: str) -> Receipt:
    try:
        return read_json(line, Receipt)
    except msgspec.DecodeError as error:
        raise OperatorError(place, expected="a receipt", got=str(error), do="Look at the file.") from None


def _read(data: bytes) -> object:
    try:
        return read_reply(data)
    except PeerError:
        return None
