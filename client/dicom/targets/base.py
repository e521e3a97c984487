"""What is known of an image before it is decoded, whatever a study asks for.

`Known` is what one source (a table, a folder of reports or masks) says; asked for some files it answers with a fact, or
with the reason why they cannot be used. Guarantees: a source holds keyed hashes, never an identifier; contradictions
are a reason, never a choice.

>>> NOTHING.of([entry]) is None
True
"""

from collections.abc import Sequence
from typing import Protocol

from client.dicom.reasons import Reason
from client.dicom.scanning.entry import Entry
from client.dicom.targets.outline import Outline

#: Index of a label · 0 or 1 for each · a value · what is drawn on it · nothing
Fact = int | tuple[int, ...] | float | Outline | None


class Known(Protocol):
    """What one source says of the images of an archive."""

    @property
    def apart(self) -> bool:
        """Whether each slice of a stack is known by itself (masks), or all of a series together (labels)."""

    def match(self, entry: Entry) -> object:
        """None if nothing is said of `entry`."""

    def of(self, entries: Sequence[Entry]) -> Fact | Reason:
        """What is known of the image, stack or volume made of `entries`, or why it cannot be used."""

    def require_match(self, matched: int) -> None:
        """Raises InputError if `matched`, the series of which anything is said, are none."""


class Nothing:
    """Nothing need be known."""

    apart = False

    def match(self, entry: Entry) -> object:
        """Nothing."""
        del entry
        return None

    def of(self, entries: Sequence[Entry]) -> Fact | Reason:
        """Nothing."""
        del entries
        return None

    def require_match(self, matched: int) -> None:
        """Nothing to match."""
        del matched


NOTHING = Nothing()
