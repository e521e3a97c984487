"""An archive for one evaluation: read as a hospital's own, in a folder that is gone afterwards, all patients held out.

Guarantees: no key, catalog, cache or patient's hash outlives the block; nothing of this hospital's Konsil folder is
read or changed, so no ledger, policy or split of a study is touched.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from client.dicom.archive import Progress
from client.home import Home, make_keys
from client.images import Split
from client.workbench import Prepared, prepare_for
from shared.errors import InputError
from shared.files import write_atomically
from shared.study import Study


@contextmanager
def opened(
    archive: Path, labels: Path | None, study: Study, *, device: str = "cpu", progress: Progress | None = None
) -> Iterator[Prepared]:
    """The images of `archive` that `study` can use, every patient in the test split; `labels` None only for a study
    whose target is "none". Raises InputError for a place that is none, and where no image can be used."""
    for place, what in ((archive, "an archive: a folder, a zip or a DICOMDIR"), (labels, "labels")):
        if place is not None and not place.exists():
            raise InputError(str(place), expected=what, got="no such file", do="Check the path.")
    with tempfile.TemporaryDirectory(prefix="konsil-evaluate.") as folder:
        home = Home(Path(folder))
        make_keys(home.path)
        known = home.path / "labels.csv" if labels is None else labels.resolve()
        words = {"name": "evaluation", "archive": str(archive.resolve()), "labels": str(known)}
        lines = [f"{key} = {_quoted(value)}" for key, value in (words | {"device": device}).items()]
        write_atomically(home.path / "site.toml", "\n".join(lines).encode())
        prepared = prepare_for(home, study, progress)
        split = np.full_like(prepared.images.split, Split.TEST)
        yield replace(prepared, images=replace(prepared.images, split=split))


def _quoted(text: str) -> str:
    """A TOML string: JSON's escapes are TOML's."""
    return msgspec.json.encode(text).decode()
