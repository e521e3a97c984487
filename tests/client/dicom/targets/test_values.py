from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.dicom.reasons import Reason
from client.dicom.targets.values import years
from shared.errors import InputError
from shared.study import Input
from tests.client.dicom.archives import ready

Write = Callable[..., Path]
SPEC = Input(modalities=("DX",), size=(8, 8))


@pytest.mark.parametrize(
    ("text", "age"),
    [("045Y", 45), ("018M", 1.5), ("026W", 26 * 7 / 365.25), ("000D", 0), (" 007y ", 7), ("45Y", None), ("", None)],
)
def test_age_strings(text: str, age: float | None) -> None:
    assert years(text) == pytest.approx(age)


def values(tmp_path: Path, rows: str, label: str = "size", **changes: Any) -> tuple[list[float], dict[Reason, int]]:
    images, counts = ready(tmp_path / "archive", SPEC, rows, labels=(label,), target="value", **changes)
    assert images.target.dtype == np.float32
    assert counts.files == counts.usable + sum(counts.skipped.values())
    return sorted(images.target.tolist()), {reason: count for reason, count in counts.skipped.items() if count}


def test_a_column_and_every_fault_by_its_reason(write: Write, tmp_path: Path) -> None:
    for number in range(8):
        write(f"{number}.dcm", number, PatientID=f"P{number}")
    rows = "patient_id,Size\nP0,1.5\nP1,-2\nP2,nan\nP3,1e99\nP4,\nP5,3\nP5,4\nP6,inf\nP7,wide\n"
    found, skipped = values(tmp_path, rows)
    assert found == [-2, 1.5]
    assert skipped == {Reason.UNUSABLE_LABEL: 4, Reason.NO_LABEL: 1, Reason.LABEL_CONFLICT: 1}


def test_age_comes_from_the_table_or_from_the_image(write: Write, tmp_path: Path) -> None:
    write("1.dcm", 1, PatientID="P1", PatientAge="040Y")
    write("2.dcm", 2, PatientID="P2", PatientAge="006M")
    write("3.dcm", 3, PatientID="P3")
    assert values(tmp_path, "patient_id,age\nP1,41\nP2,\nP3,77\n", "age")[0] == [41, 77]
    found, skipped = values(tmp_path, "patient_id,label\nP1,x\n", "Age")
    assert (found, skipped) == ([0.5, 40], {Reason.NO_LABEL: 1})
    (tmp_path / "labels.csv").unlink()
    assert values(tmp_path, "", "age")[0] == [0.5, 40]


def test_what_is_lacking_is_said(write: Write, tmp_path: Path) -> None:
    write("1.dcm", 1, PatientID="P1")
    with pytest.raises(InputError, match="a column 'size'"):
        values(tmp_path, "patient_id,label\nP1,x\n")
    with pytest.raises(InputError, match="1 rows with a value, of which none matches"):
        values(tmp_path, "patient_id,size\nP9,1\n")
    with pytest.raises(InputError, match="the column of the value"):
        ready(tmp_path / "archive", SPEC, "patient_id,size\nP1,1\n", labels=("size", "age"), target="value")


def test_a_table_that_lies_in_the_archive_is_not_counted(write: Write, tmp_path: Path) -> None:
    write("1.dcm", 1, PatientID="P1")
    table = tmp_path / "archive" / "labels.csv"
    table.write_text("patient_id,size\nP1,1\n")
    assert values(tmp_path, "", source=table) == ([1], {})
