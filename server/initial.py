"""Where a run begins: the weights that the study's seed gives, or those of its `model.init` file.

The file lies beside the study and is named by its SHA-256 in it, so that hospitals which agree to the study agree to
the start. Weights of the file take the place of the seed's by name; the model may have more (a new head), never fewer,
and none of another shape.
"""

import hashlib
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from shared.errors import InputError
from shared.files import write_atomically
from shared.layout import Layout, Vector, begin
from shared.study import Study


def bring(study: Study, source: Path, folder: Path) -> None:
    """Copy the study's `model.init` from beside it in `source` into the run's `folder`. Raises InputError where it is
    not there or not the one the study names."""
    if study.model.init and source.resolve() != folder.resolve():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / study.model.init, _read(study, source))


def start_of(study: Study, folder: Path) -> tuple[Layout, Vector]:
    """The layout of the study's weights, and the weights its run in `folder` begins with. Raises InputError."""
    layout, weights = begin(study)
    if not study.model.init:
        return layout, weights
    try:
        tensors = load(_read(study, folder))
    except SafetensorError as error:
        raise InputError(
            str(folder / study.model.init), expected="whole safetensors bytes", got=str(error), do="Copy it again."
        ) from None
    pieces = layout.split(weights.copy())
    for name, tensor in tensors.items():
        if name not in pieces or pieces[name].shape != tensor.shape:
            raise InputError(
                f"model.init {study.model.init}",
                expected="weights of the study's model, by name and shape",
                got=f"'{name}' {list(tensor.shape)}",
                do="Leave it out of the file, or name the model it was saved from.",
            )
        pieces[name] = tensor.astype(np.float32)
    started = layout.join(pieces)
    if not np.isfinite(started).all():
        raise InputError(f"model.init {study.model.init}", expected="finite numbers", got="NaN or infinity")
    return layout, started


def _read(study: Study, folder: Path) -> bytes:
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
    found = hashlib.sha256(data).hexdigest()
    if found != study.model.init_sha256:
        raise InputError(
            str(path),
            expected=f"a file with the SHA-256 {study.model.init_sha256}",
            got=found,
            do=f'Restore it, or write init_sha256 = "{found}" into the study.',
        )
    return data
