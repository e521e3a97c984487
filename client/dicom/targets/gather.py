"""From what a kind of task wants to know to what is known: which source is read, and the array that comes of it.

known = known_of("mask", Path("labels.csv"), key, study)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.dicom.caching.form import Form
from client.dicom.decoding import Decode
from client.dicom.labels.column import columns_of
from client.dicom.labels.mask_table import COLUMN as MASK
from client.dicom.labels.source import is_table
from client.dicom.targets.base import NOTHING, Fact, Known
from client.dicom.targets.boxes import COLUMN, MOST, TableBoxes
from client.dicom.targets.drawn import read_drawn
from client.dicom.targets.labels import EachLabel, OneLabel
from client.dicom.targets.raster import boxes_of, mask_of
from client.dicom.targets.values import read_values
from shared.errors import InputError
from shared.study import Study, spec_hash
from shared.tasks.base import Target
from shared.wire import digest

#: Largest value of a mask: it is a byte.
MOST_LABELS = 255


def known_of(target: Target, source: Path, key: bytes, study: Study) -> Known:
    """What `source` says that `target` wants to know. Raises InputError saying what it lacks."""
    labels = study.task.labels
    if target == "class":
        return OneLabel.read(source, key, labels)
    if target == "classes":
        return EachLabel.read(source, key, labels)
    if target == "value":
        if len(labels) != 1:
            raise InputError("task.labels", expected="one: the column of the value", got=str(len(labels)))
        return read_values(source, key, labels[0])
    if target == "none":
        return NOTHING
    if not labels:
        raise InputError("task.labels", expected="what is drawn in the masks", got="none")
    if target == "boxes" and study.input.kind != "volume" and is_table(source):
        columns = columns_of(source)
        if COLUMN in columns:
            return TableBoxes.read(source, key, labels)
        if not any(name.startswith(MASK) for name in columns):
            expected, do = f"a column '{COLUMN}' or '{MASK}'", "Add one: boxes in cells, or the files of masks."
            raise InputError(f"label file {source}", expected=expected, got=", ".join(sorted(columns)), do=do)
    return read_drawn(source, key, labels)


@dataclass(frozen=True)
class Raster:
    """How a target is decoded that has a grid: into rows of `form`, by `decode`."""

    form: Form
    decode: Decode


def raster_of(target: Target, study: Study) -> Raster | None:
    """How `target` is decoded; None if it needs no decoding."""
    if target not in ("mask", "boxes"):
        return None
    labels = study.task.labels
    name = digest("konsil/target/v1", spec_hash(study.input), target.encode(), *(label.encode() for label in labels))
    if target == "mask":
        return Raster(Form(name, study.input.size, "uint8"), partial(mask_of, labels=labels))
    return Raster(Form(name, (MOST, 1 + 2 * len(study.input.size))), partial(boxes_of, labels=labels))


def told(target: Target, facts: Sequence[Fact]) -> NDArray[np.generic]:
    """The array of a target that needs no decoding: Images.target of images with `facts`."""
    if target == "none":
        return np.zeros(len(facts), np.int64)
    return np.array(facts, np.float32 if target == "value" else np.int64)


def decoded(target: Target, rows: NDArray[Any], places: NDArray[np.int64]) -> NDArray[np.generic]:
    """The array of a decoded target: rows `places` of the mapped `rows`. Masks stay mapped where they lie in a row, as
    they do unless others were decoded between them; else, and boxes, they are copied into memory."""
    if target == "boxes":
        return np.array(rows[places])
    first, last = (int(places[0]), int(places[-1])) if len(places) else (0, -1)
    if np.array_equal(places, np.arange(first, last + 1)):
        mapped: NDArray[np.generic] = rows[first : last + 1]
        return mapped
    return np.array(rows[places])
