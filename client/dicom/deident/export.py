"""An archive, or a part of it, as a folder of de-identified objects: the one way out for images.

Guarantees: every file counts once, as written, quarantined or left out for a reason; what may have text in its pixels
is quarantined, and where the hospital lets it out all the same, it claims nothing; the folder appears whole or not at
all; files are numbered in the order of their new UIDs, so that neither names nor order tell of the archive.

    result = export(Path("archive"), Path("out"), Terms(Profile.of("device")), key=archive_key)
"""

import io
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from client.dicom.deident.burned_in import Detect, held_back
from client.dicom.deident.engine import clean
from client.dicom.deident.profile import Profile
from client.dicom.deident.reading import read_whole
from client.dicom.item import Location
from client.dicom.quality.text import suspected_text
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning.unusual import MALFORMED
from client.dicom.scanning.walk import base_of, count, listed, pages
from client.dicom.writing import whole_folder
from shared.errors import InputError

Progress = Callable[[int, int], None]

#: Why a file is no DICOM file at all.
_FOREIGN = frozenset({Reason.NOT_DICOM, Reason.SPECIAL_FILE})


@dataclass(frozen=True)
class Export:
    """What became of the files: `written`, of which `unclaimed` may have text in their pixels; `quarantined` and
    `left_out` by reason, in the order of Reason. `swept`: elements that the final sweep removed."""

    written: int
    unclaimed: int
    quarantined: Mapping[Reason, int]
    left_out: Mapping[Reason, int]
    swept: int

    @property
    def files(self) -> int:
        """All files of the archive."""
        return self.written + sum(self.quarantined.values()) + sum(self.left_out.values())


@dataclass(frozen=True)
class Terms:
    """On which terms objects leave. `allow_burned_in`: write what is held back otherwise; `detect`: finds text."""

    profile: Profile
    allow_burned_in: bool = False
    detect: Detect = suspected_text


def export(archive: Path, out: Path, terms: Terms, *, key: bytes, progress: Progress | None = None) -> Export:
    """De-identify the objects of `archive`, a folder or a zip, into the new folder `out`. `key` is the site's secret.

    Raises InputError if there is no DICOM file or `out` is in use, SiteError for the disk.
    """
    total = count(archive) if progress else 0
    with whole_folder(out) as draft:
        task = _Task(draft, terms, key)
        for done, verdict in enumerate(_verdicts(archive, task), start=1):
            task.left_out[verdict] += verdict is not None
            if progress:
                progress(done, max(total, done))
        result = task.result()
        if not result.files - sum(result.left_out.get(reason, 0) for reason in _FOREIGN):
            raise InputError(f"archive {archive}", expected="DICOM files", got=f"{result.files} others", do="Check it.")
        task.number_files()
    return result


def _verdicts(archive: Path, task: "_Task") -> Iterator[Reason | None]:
    """Each file dealt with: None, or why it was left out."""
    base = base_of(archive)
    for page in pages(archive):
        for file in (listed(page, base) if page.container else page).files:
            try:
                if file.fault:
                    raise LeftOutError(Reason(file.fault))
                task.add(file.location(base))
            except LeftOutError as left_out:
                yield left_out.reason
            else:
                yield None


class _Task:
    """An export under way, into `draft`. `names`: new SOP Instance UID → file."""

    def __init__(self, draft: Path, terms: Terms, key: bytes) -> None:
        self.draft, self.terms, self.key = draft, terms, key
        self.names: dict[str, Path] = {}
        self.quarantined: Counter[Reason] = Counter()
        self.left_out: Counter[Reason | None] = Counter()
        self.unclaimed = self.swept = 0

    def add(self, location: Location) -> None:
        """Write or quarantine one object. Raises LeftOutError."""
        source = read_whole(location)
        reason = held_back(source, self.terms.detect)
        if reason and not self.terms.allow_burned_in:
            self.quarantined[reason] += 1
            return
        cleaned = clean(source, self.terms.profile, key=self.key, identity_removed=reason is None)
        data = encoded(cleaned.dataset)
        name = str(cleaned.dataset.SOPInstanceUID)
        if name in self.names:
            raise LeftOutError(Reason.DUPLICATE)
        self.names[name] = self.draft / f"{len(self.names)}.part"
        self.names[name].write_bytes(data)
        self.unclaimed += reason is not None
        self.swept += cleaned.swept

    def result(self) -> Export:
        """The counts."""
        return Export(
            written=len(self.names),
            unclaimed=self.unclaimed,
            quarantined={reason: self.quarantined[reason] for reason in Reason if self.quarantined[reason]},
            left_out={reason: self.left_out[reason] for reason in Reason if self.left_out[reason]},
            swept=self.swept,
        )

    def number_files(self) -> None:
        """Give the files their names for good."""
        for number, name in enumerate(sorted(self.names), start=1):
            self.names[name].rename(self.draft / f"IM{number:06d}.dcm")


def encoded(dataset: Dataset) -> bytes:
    """`dataset`, as `clean` made it, as the bytes of a DICOM file (PS3.10 7), its preamble empty.

    Raises LeftOutError(unreadable) where a value turns out to be none that can be written.
    """
    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote values
            dataset.save_as(buffer, enforce_file_format=True)
    except (OSError, *MALFORMED):
        raise LeftOutError(Reason.UNREADABLE) from None
    return buffer.getvalue()
