"""Where a run begins: the file the study names, or nothing."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from safetensors.numpy import save

from server.initial import bring, start_of
from shared.errors import InputError
from shared.layout import begin
from shared.study import MINIMAL, Study, parse_study

PLAIN = parse_study(MINIMAL)


def with_init(folder: Path, tensors: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]) -> Study:
    data = save(tensors)
    (folder / "start.safetensors").write_bytes(data)
    return replace(
        PLAIN, model=replace(PLAIN.model, init="start.safetensors", init_sha256=hashlib.sha256(data).hexdigest())
    )


def test_what_the_file_has_takes_the_place_of_the_seeds(tmp_path: Path) -> None:
    layout, seeded = begin(PLAIN)
    name, shape = layout.names[0], layout.shapes[0]
    found = start_of(with_init(tmp_path, {name: np.full(shape, 7, np.float32)}), tmp_path)[1]
    size = int(np.prod(shape))
    assert (found[:size] == 7).all() and (found[size:] == seeded[size:]).all()


def test_it_travels_with_the_run(tmp_path: Path) -> None:
    layout, _ = begin(PLAIN)
    study = with_init(tmp_path, {layout.names[0]: np.zeros(layout.shapes[0], np.float32)})
    bring(study, tmp_path, tmp_path / "run")
    assert (start_of(study, tmp_path / "run")[1] == start_of(study, tmp_path)[1]).all()


@pytest.mark.parametrize("wrong", ["name", "shape", "nan", "bytes", "hash", "gone"])
def test_another_file_is_refused_with_what_is_wrong(wrong: str, tmp_path: Path) -> None:
    layout, _ = begin(PLAIN)
    name, shape = layout.names[0], layout.shapes[0]
    tensors = {
        "name": {"other.weight": np.zeros(shape, np.float32)},
        "shape": {name: np.zeros((*shape, 2), np.float32)},
        "nan": {name: np.full(shape, np.nan, np.float32)},
    }.get(wrong, {name: np.zeros(shape, np.float32)})
    study, path = with_init(tmp_path, tensors), tmp_path / "start.safetensors"
    if wrong == "bytes":
        path.write_bytes(path.read_bytes()[:-1])
        study = replace(study, model=replace(study.model, init_sha256=hashlib.sha256(path.read_bytes()).hexdigest()))
    if wrong == "hash":
        path.write_bytes(path.read_bytes() + b" ")
    if wrong == "gone":
        path.unlink()
    said = {
        "name": "'other.weight'",
        "shape": f"'{name}'",
        "nan": "finite",
        "bytes": "whole",
        "hash": "init_sha256 =",
        "gone": "beside the study",
    }[wrong]
    with pytest.raises(InputError, match=said):
        start_of(study, tmp_path)
