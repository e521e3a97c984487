"""A first look at the archive: can the agent read it, is it DICOM, do the labels join?

Bounded: at most SAMPLE files and SAMPLE_S seconds, headers only. Names of files are never told: they often hold names
of patients.
"""

import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from client.checks.context import Context, needed
from client.dicom.keys import short_key
from client.dicom.labels.rows import open_table
from client.dicom.labels.source import is_table
from client.dicom.labels.table import Labels, read_labels
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning.catalog import Catalog, Entry
from client.dicom.scanning.containers import header
from client.dicom.scanning.header import Header
from client.dicom.scanning.walk import File, base_of, listed, pages
from shared.accounts import may
from shared.checks import Check, fail, graded, ok, warn
from shared.errors import InputError

SAMPLE, SAMPLE_S = 200, 10.0


@dataclass(frozen=True)
class Sample:
    """What a few files of the archive are: headers that read, files that are no DICOM, files that do not open."""

    headers: tuple[Header, ...]
    other: int
    unreadable: int

    @property
    def files(self) -> int:
        """All files looked at."""
        return len(self.headers) + self.other + self.unreadable


def sample(archive: Path, most: int = SAMPLE, seconds: float = SAMPLE_S) -> Sample:
    """The first `most` files of `archive`, or those read within `seconds`."""
    end, headers, other, unreadable = time.monotonic() + seconds, [], 0, 0
    for file in islice(_files(archive), most):
        try:
            headers.append(header(file.location(base_of(archive))))
        except LeftOutError as left_out:
            unreadable += left_out.reason == Reason.UNREADABLE
            other += left_out.reason != Reason.UNREADABLE
        if time.monotonic() > end:
            break
    return Sample(tuple(headers), other, unreadable)


def _files(archive: Path) -> Iterator[File]:
    """Raises InputError for what is no archive."""
    for page in pages(archive):
        files = listed(page, base_of(archive)).files if page.container else page.files
        yield from (file for file in files if file.fault != Reason.SPECIAL_FILE)


def archive_readable(context: Context) -> Check:
    """The agent's user may read the archive, and it holds DICOM."""
    archive = context.archive
    try:
        files = list(islice(_files(archive), SAMPLE))
    except InputError:
        do = "Correct archive in site.toml, or mount it; in a service, bind it (deploy/README.md)."
        return fail(f"{archive} is not a folder, a .zip or a DICOMDIR", do)
    paths = [archive, *dict.fromkeys(base_of(archive) / file.path for file in files)]
    denied = len(paths) - sum(may(context.agent, paths, os.R_OK))
    if denied:
        do = f"Let user {context.agent.name} read the archive (group or access list); read only is enough."
        return fail(f"{context.agent.name} may not read {denied} of {len(paths)} files looked at", do)
    found = sample(archive)
    told = f"{len(found.headers)} of {found.files} files looked at are DICOM"
    if not found.headers:
        return fail(told, "Point archive at the folder that holds the images.")
    do = "Look at them: konsil-client scan says what is left out and why."
    return graded(found.unreadable, warn_at=0, fail_at=found.files - 1, found=told, do=do)


def labels_join(context: Context) -> Check:
    """The label file belongs to this archive: images of the catalog, or of a sample, have rows in it."""
    key = needed(lambda: context.home.archive_key, "keys/archive.key cannot be used")
    path = context.home.path / context.site.labels
    if (columns := _columns(path)) and "label" not in columns:
        told = f"no column 'label' but {', '.join(columns)}: for studies of findings, values or masks"
        return ok(f"{told}, and joined when one runs")
    table = read_labels(path, key)
    if usable_images(context):
        with Catalog(catalog_path(context)) as catalog:
            return _joined(table, (entry for entry in catalog.entries() if not entry.fault), "in the catalog")
    return _joined(table, (_entry(found, key) for found in sample(context.archive).headers), "looked at")


def _columns(path: Path) -> tuple[str, ...]:
    """Of the table at `path`; none of what is no table, or not there."""
    if not is_table(path) or not path.is_file():
        return ()
    with open_table(path) as table:
        return tuple(table.columns)


def _joined(table: Labels, entries: Iterable[Entry], where: str) -> Check:
    joined = Counter(not isinstance(table.of(entry), Reason) for entry in entries)
    labelled, images = joined[True], joined.total()
    found = f"{labelled} of {images} images {where} have a label; {table.rows} rows"
    if not images or labelled:
        return ok(found) if images else warn("no image to join them with", "See the archive.")
    do = "Check that the file is this archive's and that its identifiers are those inside the DICOM files."
    return fail(found, do)


def _entry(found: Header, key: bytes) -> Entry:
    """What the label file is matched against, hashed as the scan does."""
    return Entry(
        file=b"",
        size=0,
        mtime_ns=0,
        inode=0,
        sop=short_key(key, "sop", found.sop_uid),
        series=short_key(key, "series", found.series_uid),
        study=short_key(key, "study", found.study_uid),
        accession=short_key(key, "accession", found.accession),
        bare_patient=short_key(key, "bare-patient", found.patient_id),
    )


def catalog_path(context: Context) -> Path:
    """Where Catalog.of keeps this archive's catalog, without making one: the doctor may run as root."""
    name = hashlib.sha256(os.fsencode(context.archive.resolve())).hexdigest()[:16]
    return context.home.path / "archive" / name / "catalog.sqlite"


def usable_images(context: Context) -> int | None:
    """Files without a fault of their own in the catalog; None before the first scan."""
    path = catalog_path(context)
    if not path.exists():
        return None
    with Catalog(path) as catalog:
        return catalog.usable()
