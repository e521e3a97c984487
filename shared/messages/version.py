"""The version of what both sides say to each other: exactly this, or nothing is read."""

from shared.errors import PeerError
from shared.wire import Record, unpack

#: Both sides speak exactly this; a peer of another version is refused by its number.
VERSION = 5


class _Version(Record, frozen=True, forbid_unknown_fields=False):
    version: int


def check_version(data: bytes) -> None:
    """Raise PeerError unless the message `data` says it is of this version."""
    found = unpack(_Version, data).version
    if found != VERSION:
        raise PeerError(
            "message version", expected=str(VERSION), got=str(found), do="Run the same Konsil at both ends."
        )
