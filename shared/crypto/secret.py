"""Records that hold secrets: stored and read like any other, never shown.

Guarantees: `repr`, `str` and rich's pretty printer give the class name only, so neither a log line nor a
traceback carries a key.

    >>> class Key(SecretRecord, frozen=True):
    ...     private: bytes
    >>> Key(private=b"hidden")
    Key(...)
"""

from typing import Any

from shared.wire import Record


class SecretRecord(Record, frozen=True):
    """A Record whose printed form hides every field."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []
