"""Whatever the bytes: a result or one of our errors, and nothing on standard error. A longer run: DICOM.md's fuzzer."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from client.dicom.item import Location
from client.dicom.labels.faults import MaskError
from client.dicom.labels.masks import load_masks, read_masks
from client.dicom.labels.report import Reading, read_reports
from client.dicom.writing import write_object
from shared.errors import InputError
from tests.client.dicom.labels.reports import group, measured, pictures, report_writer
from tests.client.dicom.labels.segmentations import affine, ct, grid_of, some_mask, written
from tests.client.dicom.labels.structures import structure_set

KEY = b"k" * 32
MUTATIONS = 100
Make = Callable[..., Dataset]


def mutated(data: bytes, seed: int) -> bytes:
    """`data` with up to four bytes changed, runs removed or inserted, or lengths without end."""
    chance, changed = random.Random(seed), bytearray(data)  # noqa: S311  damage, not keys
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(132, len(changed))
        kind = chance.randrange(4)
        if kind == 0:
            changed[at] = chance.randrange(256)
        elif kind == 1:
            changed[at : at + 4] = b"\xff\xff\xff\xff"
        elif kind == 2:
            del changed[at : at + chance.randint(1, 9)]
        else:
            changed[at:at] = chance.randbytes(chance.randint(1, 9))
    return bytes(changed)


@pytest.mark.parametrize("kind", ["segmentation", "structure set"])
def test_masks(tmp_path: Path, make: Make, kind: str) -> None:
    matrix, path = affine(), tmp_path / "mask.dcm"
    square = np.array([[-7, 11, 30], [-6, 11, 30], [-6, 14, 30]])
    drawn = structure_set([("A", [square, square + np.array([0, 0, 2])]), ("B", [square])])
    seg = written(ct(make)(matrix), some_mask().astype(np.uint8))
    write_object(path, seg if kind == "segmentation" else drawn)
    data, outcomes = path.read_bytes(), set()
    for seed in range(MUTATIONS):
        path.write_bytes(mutated(data, seed))
        read_masks(path, KEY)
        try:
            found = load_masks(Location(path))
            for label in found.labels:
                assert found.on(grid_of(matrix), label).shape == some_mask().shape
            outcomes.add("ok")
        except MaskError as error:
            outcomes.add(error.fault.value)
    assert {"ok", "unreadable"} <= outcomes


def test_reports(tmp_path: Path, make: Make) -> None:
    images = pictures(make)
    report_writer(tmp_path)("one", measured(group(images["a"]), group(images["c"])), images["a"], images["c"])
    path = tmp_path / "reports" / "one.dcm"
    data, outcomes = path.read_bytes(), set()
    for seed in range(MUTATIONS):
        path.write_bytes(mutated(data, seed))
        try:
            labels = read_reports(path, KEY, Reading(unverified=True))
            outcomes.add("ok" if labels.rows else "remark")
        except InputError:
            outcomes.add("none")
    assert {"ok", "remark"} <= outcomes
