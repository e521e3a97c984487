from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from client.dicom.reasons import Reason
from shared.errors import InputError
from shared.study import Input
from tests.client.dicom.archives import ready

Write = Callable[..., Path]
SPEC = Input(modalities=("DX",), size=(8, 8))
LABELS = ("edema", "pneumonia")


@pytest.fixture
def archive(write: Write, tmp_path: Path) -> Path:
    for number in range(6):
        write(f"{number}.dcm", number, PatientID=f"P{number}")
    return tmp_path / "archive"


@pytest.mark.parametrize(
    ("rows", "found", "skipped"),
    [
        pytest.param(
            "patient_id,label,edema,pneumonia\nP0,x,1,0\nP1,x,0,0\nP2,x,1,1\nP3,x,-1,1\nP4,x,,1\n",
            [[0, 0], [1, 0], [1, 1]],
            {Reason.NO_LABEL: 3},
            id="columns of their own go before a label; unsure and unsaid are left out",
        ),
        pytest.param(
            "patient_id,label\nP0,edema\nP0,pneumonia\nP1,clear\nP2,pneumonia|fracture\nP3,\n",
            [[0, 0], [0, 1], [1, 1]],
            {Reason.NO_LABEL: 3},
            id="one column names all findings, in one row or in several",
        ),
        pytest.param(
            "patient_id,edema,pneumonia\nP0,1,0\nP0,0,0\nP1,1,0\n",
            [[1, 0]],
            {Reason.NO_LABEL: 4, Reason.LABEL_CONFLICT: 1},
            id="two rows that differ are a conflict",
        ),
    ],
)
def test_any_number_of_labels(archive: Path, rows: str, found: list[list[int]], skipped: dict[Reason, int]) -> None:
    images, counts = ready(archive, SPEC, rows, labels=LABELS, target="classes")
    assert images.target.dtype == np.int64
    assert sorted(images.target.tolist()) == found
    assert {reason: count for reason, count in counts.skipped.items() if count} == skipped
    assert counts.files == 6


def test_a_label_without_its_column_is_an_error(archive: Path) -> None:
    with pytest.raises(InputError, match=r"a column for each finding \(edema, pneumonia\).* Add 'pneumonia'"):
        ready(archive, SPEC, "patient_id,edema\nP0,1\n", labels=LABELS, target="classes")


def test_more_than_two_classes(archive: Path) -> None:
    rows = "patient_id,label\n" + "".join(f"P{n},{'abc'[n % 3]}\n" for n in range(6))
    images, _ = ready(archive, SPEC, rows, labels=("a", "b", "c"))
    assert sorted(images.target.tolist()) == [0, 0, 1, 1, 2, 2]


def test_nothing_need_be_known(archive: Path) -> None:
    images, counts = ready(archive, SPEC, "", labels=(), target="none")
    assert images.target.tolist() == [0] * 6
    assert counts.usable == counts.files == 6
