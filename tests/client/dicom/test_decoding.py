import json
import sys
from pathlib import Path

import pytest

from client.dicom.decoding import Task, _in_processes, decode_all
from client.dicom.reasons import Reason
from shared.study import Input

CRASHING = """
import os

def work(tasks):
    if any(task.row == 3 for task in tasks):
        os._exit(1)
    return {task.row: 7 for task in tasks}
"""


def test_a_crashing_decoder_costs_one_image_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "crashing_decoder.py").write_text(CRASHING)
    monkeypatch.syspath_prepend(str(tmp_path))  # workers are spawned with this path, too
    module = __import__("crashing_decoder")
    tasks = [Task(row, Path("x"), (0, 0, 0)) for row in range(6)]
    results: dict[int, int | Reason] = {}
    for result in _in_processes(module.work, [tasks[:2], tasks[2:4], tasks[4:]]):
        results |= result
    assert results == {0: 7, 1: 7, 2: 7, 3: Reason.DECODE_FAILED, 4: 7, 5: 7}
    sys.modules.pop("crashing_decoder")


#: A JPEG that makes GDCM end the process, and an RLE frame at which its decoder panics.
KNOWN = json.loads((Path(__file__).parents[2] / "fuzz" / "regressions.json").read_text())
SPEC = Input(modalities=("DX",), size=(8, 8))


@pytest.mark.parametrize("end", ["crash", "panic"])
def test_a_decoder_that_dies_costs_one_image_even_if_there_is_only_one(tmp_path: Path, end: str) -> None:
    path, rows = tmp_path / "a.dcm", tmp_path / "rows"
    path.write_bytes(bytes.fromhex(KNOWN[f"DICOM image: a decoder's {end}"]["hex"]))
    rows.touch()
    status = path.stat()
    task = Task(0, path, (status.st_size, status.st_mtime_ns, status.st_ino))
    assert decode_all(rows, SPEC, [task]).failures == {0: Reason.DECODE_FAILED}
