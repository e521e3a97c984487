"""The file a run's weights begin with (`model.init`), on either side of the wire. No torch, no I/O.

It travels apart from the rounds (docs/adr/0027): tasks carry the weights that move, and what stays is made on both
sides of the study's seed and this file, which the study names by its SHA-256.

Rules: the file is the one the study names; every tensor in it is one of the model's, by name and shape; the model may
have more (a new head); numbers are finite.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from shared.errors import InputError
from shared.layout import Layout, Vector
from shared.study import Study

#: Bytes of the file beside its numbers: of the header in all, and of each tensor's line in it.
HEADER, LINE = 1 << 16, 512


def is_needed(study: Study) -> bool:
    """Whether hospitals need the file: some weights stay, and it says what they are."""
    model = study.model
    return bool(model.init) and bool(model.frozen or model.trained or model.adapter_rank)


def longest(layout: Layout) -> int:
    """Bytes of the longest file for a model of this layout: every weight as float32, and a header."""
    return HEADER + 4 * layout.size + LINE * len(layout.names)


def is_right(study: Study, data: bytes | memoryview) -> bool:
    """Whether `data` is the file that `study` names."""
    return hashlib.sha256(data).hexdigest() == study.model.init_sha256


def started(study: Study, layout: Layout, weights: Vector, data: bytes) -> Vector:
    """The seed's `weights` [layout.size] with those of the file `data` in their place. Raises InputError for a file
    that is not the one `study` names, or whose tensors are not the model's."""
    what = f"model.init {study.model.init}"
    if not is_right(study, data):
        found = hashlib.sha256(data).hexdigest()
        raise InputError(
            what,
            expected=f"a file with the SHA-256 {study.model.init_sha256}",
            got=found,
            do=f'Restore it, or write init_sha256 = "{found}" into the study.',
        )
    if len(data) > longest(layout):
        raise InputError(
            what,
            expected=f"at most {longest(layout)} bytes, float32",
            got=str(len(data)),
            do="Write it anew: konsil-server weights leaves out what the model has no place for.",
        )
    pieces = layout.split(weights.copy())
    for name, tensor in _tensors(what, data).items():
        if name not in pieces or pieces[name].shape != tensor.shape:
            raise InputError(
                what,
                expected="weights of the study's model, by name and shape",
                got=f"'{name[:128]}' {list(tensor.shape)}",
                do="Leave it out of the file (konsil-server weights does), or name the model it was saved from.",
            )
        pieces[name] = tensor.astype(np.float32)
    begun = layout.join(pieces)
    if not np.isfinite(begun).all():
        raise InputError(what, expected="finite numbers", got="NaN or infinity")
    return begun


def _tensors(what: str, data: bytes) -> dict[str, NDArray[np.generic]]:
    try:
        return load(data)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(what, expected="whole safetensors bytes", got=str(error), do="Copy it again.") from None
