"""Where a run begins: the weights that the study's seed gives, or those of its `model.init` file.

The file lies beside the study and is named by its SHA-256 in it, so that hospitals which agree to the study agree to
the start. What is in it: shared/start.py.
"""

import hashlib
from pathlib import Path

from shared.errors import InputError
from shared.files import write_atomically
from shared.layout import Layout, Vector, begin
from shared.start import is_right, started
from shared.study import Study


def bring(study: Study, source: Path, folder: Path) -> None:
    """Copy the study's `model.init` from beside it in `source` into the run's `folder`. Raises InputError where it is
    not there or not the one the study names."""
    if study.model.init and source.resolve() != folder.resolve():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / study.model.init, file_of(study, source))


def start_of(study: Study, folder: Path) -> tuple[Layout, Vector]:
    """The layout of the study's weights, and the weights its run in `folder` begins with. Raises InputError."""
    layout, weights = begin(study)
    return layout, started(study, layout, weights, file_of(study, folder)) if study.model.init else weights


def file_of(study: Study, folder: Path) -> bytes:
    """The bytes of the study's `model.init` in `folder`. Raises InputError where they are not the ones it names."""
    path = folder / study.model.init
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            str(path),
            expected="the file that model.init names",
            got=str(error.strerror or error),
            do="Put it beside the study.",
        ) from None
    if not is_right(study, data):
        found = hashlib.sha256(data).hexdigest()
        raise InputError(
            str(path),
            expected=f"a file with the SHA-256 {study.model.init_sha256}",
            got=found,
            do=f'Restore it, or write init_sha256 = "{found}" into the study.',
        )
    return data
