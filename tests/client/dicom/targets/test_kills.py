"""A hospital's process that is killed while it decodes masks."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shared.study import Input
from shared.wire import pack
from tests.client.dicom.archives import ready, study_of
from tests.client.dicom.targets.blobs import draw

Write = Callable[..., Path]

SPEC = Input(modalities=("DX",), size=(32, 32))
COUNT = 30
#: Prepares masks, a moment for each, and says how many are done.
PROGRAM = """
import sys, time
from pathlib import Path
from client.dicom.archive import prepare
from client.dicom import decoding
from shared.study import Study
from shared.wire import unpack

archive, table, home, study, crew = sys.argv[1:]
if crew == "crew":
    decoding.ALONE = 0

def told(stage, done, total):
    if stage == "target":
        print(done, flush=True)
        time.sleep(0.02)

prepare(Path(archive), Path(table), Path(home), key=b"k" * 32, study=unpack(Study, bytes.fromhex(study)),
        target="mask", progress=told)
print("whole", flush=True)
"""


@pytest.mark.parametrize(("crew", "after"), [("alone", 1), ("alone", 17), ("alone", COUNT), ("crew", 5)])
def test_what_was_finished_stays_and_nothing_half_is_used(write: Write, tmp_path: Path, crew: str, after: int) -> None:
    rows = "file,mask\n"
    for number in range(COUNT):
        drawn = np.zeros((32, 32), np.uint8)
        drawn[number] = 1
        write(f"{number}.dcm", number, drawn.astype(np.uint16), PatientID=f"P{number}")
        rows += f"{number}.dcm,{draw(tmp_path / 'masks' / f'{number}.png', drawn)}\n"
    (tmp_path / "labels.csv").write_text(rows)
    packed = pack(study_of(SPEC, ("tumor",))).hex()
    words = [tmp_path / "archive", tmp_path / "labels.csv", tmp_path / "home", packed, crew]
    with subprocess.Popen([sys.executable, "-c", PROGRAM, *map(str, words)], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        for line in run.stdout:
            if line.strip() in (str(after), "whole"):
                break
        os.kill(run.pid, signal.SIGKILL)
    done: list[int] = []
    images, counts = ready(
        tmp_path / "archive", SPEC, "", labels=("tumor",), target="mask",
        progress=lambda stage, number, total: done.append(total) if stage == "target" else None,
    )  # fmt: skip
    assert counts.usable == COUNT
    assert max(done, default=0) <= COUNT - after
    assert sorted(np.flatnonzero(mask.any(axis=1)).tolist() for mask in images.target) == [[n] for n in range(COUNT)]
    pixels = images.tensors(np.arange(COUNT))[:, 0] > 0
    assert np.array_equal(pixels, images.target.astype(bool))
