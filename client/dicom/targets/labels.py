"""Which of the study's labels an image has: one of them, or any number of them.

Guarantees: an image of whose labels its source is unsure, contradicts itself or does not speak is left out; with any
number of labels, so is one of which a single label is not known: there is no third value between 0 and 1.
"""

from collections.abc import Sequence
from pathlib import Path

from client.dicom.labels.findings import choose
from client.dicom.labels.labels import Labels
from client.dicom.labels.source import read_source
from client.dicom.labels.table import Layout
from client.dicom.reasons import Reason
from client.dicom.scanning.entry import Entry
from client.dicom.targets.base import Fact

#: Before a finding that a table with a column of its own says is not there: a study asks for "no nodule" and "nodule".
ABSENT = "no "


class OneLabel:
    """The one of `labels` that an image has: its index."""

    apart = False

    def __init__(self, known: Labels, labels: tuple[str, ...]) -> None:
        self._known, self._labels = known, labels

    @classmethod
    def read(cls, source: Path, key: bytes, labels: tuple[str, ...]) -> "OneLabel":
        """What `source` says, a table or a folder of reports. Raises InputError."""
        return cls(read_source(source, key, Layout(findings=labels, absent=ABSENT)), labels)

    def match(self, entry: Entry) -> object:
        """See `Known.match`."""
        return self._known.match(entry)

    def of(self, entries: Sequence[Entry]) -> Fact | Reason:
        """The index of the label that the source gives to all of `entries` that it speaks of."""
        label = choose(self._known.label_of(entries, self._labels), self._labels)
        return label if isinstance(label, Reason) else self._labels.index(label)

    def require_match(self, matched: int) -> None:
        """See `Known.require_match`."""
        self._known.require_match(matched)


class EachLabel:
    """Whether an image has each of `labels`: 0 or 1 for each."""

    apart = False

    def __init__(self, known: Labels, labels: tuple[str, ...]) -> None:
        self._known, self._labels = known, labels

    @classmethod
    def read(cls, source: Path, key: bytes, labels: tuple[str, ...]) -> "EachLabel":
        """What `source` says: a column for each label, else all findings of an image in one. Raises InputError."""
        return cls(read_source(source, key, Layout(findings=labels, each=True)), labels)

    def match(self, entry: Entry) -> object:
        """See `Known.match`."""
        return self._known.match(entry)

    def of(self, entries: Sequence[Entry]) -> Fact | Reason:
        """0 or 1 for each label, as all of `entries` of which anything is said agree."""
        found = self._known.label_of(entries, self._labels)
        return found if isinstance(found, Reason) else tuple(int(label in found) for label in self._labels)

    def require_match(self, matched: int) -> None:
        """See `Known.require_match`."""
        self._known.require_match(matched)
