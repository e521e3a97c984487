import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from safetensors.numpy import save_file

from server.checkpoints import Checkpoint, Checkpoints, Memory, _digest
from server.strategies.base import State
from shared.errors import InputError, OperatorError, SiteError

HASH = "ab" * 32


def checkpoint(round_: int) -> Checkpoint:
    weights = np.arange(5, dtype=np.float32) + round_
    memory = Memory(run="r", study_hash=HASH, round=round_, mass=1.5, best_counts=(1, 2))
    return Checkpoint(memory, State(weights, weights * 2, 1.5), weights * 3)


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path)
    for round_ in (1, 2, 3):
        store.save(checkpoint(round_))
    found = store.resume(HASH)
    assert found.memory == checkpoint(3).memory
    np.testing.assert_array_equal(found.state.result, checkpoint(3).state.result)
    np.testing.assert_array_equal(found.best, checkpoint(3).best)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("position", [3, 200, -1])
def test_a_damaged_file_is_found_and_says_what_to_do(tmp_path: Path, position: int) -> None:
    store = Checkpoints(tmp_path)
    store.save(checkpoint(1))
    store.save(checkpoint(2))
    path = tmp_path / "round-00002.safetensors"
    data = bytearray(path.read_bytes())
    data[position] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(OperatorError, match="Delete it: the run then goes on from the round before") as caught:
        store.resume(HASH)
    assert caught.value.exit_status == 1
    path.unlink()
    assert store.resume(HASH).memory.round == 1


def test_a_torn_file_is_found(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path)
    store.save(checkpoint(1))
    path = tmp_path / "round-00001.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(OperatorError, match="damaged"):
        store.resume(HASH)


def test_nothing_to_resume_and_another_study_are_bad_input(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path)
    with pytest.raises(InputError, match="without --resume"):
        store.resume(HASH)
    store.save(replace(checkpoint(1)))
    with pytest.raises(InputError, match="Restore the study file"):
        store.resume("cd" * 32)


def test_a_full_disk_is_said_and_leaves_the_old_file(tmp_path: Path) -> None:
    """On a disk of its own, one megabyte small."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    if os.getuid() != 0 or subprocess.run(mount, check=False).returncode:
        pytest.skip("needs root and mount")
    try:
        checkpoints = Checkpoints(tmp_path)
        small = checkpoint_of(1, 1000)
        checkpoints.save(small)
        with pytest.raises(SiteError, match=r"writing .*round-00002"):
            checkpoints.save(checkpoint_of(2, 1_000_000))
        newest = checkpoints.newest()
        assert newest is not None
        assert newest.memory.round == 1
        assert [path.name for path in tmp_path.iterdir()] == ["round-00001.safetensors"]
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def checkpoint_of(round_: int, size: int) -> Checkpoint:
    weights = np.ones(size, np.float32)
    return Checkpoint(Memory(run="r", study_hash="00", round=round_), State(weights, weights, 1.0), weights)


def test_a_memory_that_is_none_is_a_clear_error(tmp_path: Path) -> None:
    vector = np.zeros(2, np.float32)
    tensors = {"best": vector, "result": vector, "weights": vector}
    memory = '{"run":' + "[" * 9000 + "]" * 9000 + "}"
    save_file(tensors, tmp_path / "round-00001.safetensors", {"memory": memory, "digest": _digest(tensors, memory)})
    with pytest.raises(OperatorError, match="a damaged one"):
        Checkpoints(tmp_path).newest()
