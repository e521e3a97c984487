"""Files that torch, TorchScript and MONAI write, and those that only pretend."""

import io
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save
from torch import nn

from server.weights.archive import read_tensors, tensors_of
from shared.errors import InputError


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))


def saved(value: object, **options: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def read(data: bytes) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    return tensors_of(io.BytesIO(data), "model.pt")


def packed(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as opened:
        for name, data in members.items():
            opened.writestr(name, data)
    return buffer.getvalue()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_a_state_dict_has_its_names_and_numbers(dtype: torch.dtype) -> None:
    module = net().to(dtype)
    found = read(saved(module.state_dict()))
    expected = {name: t.float().numpy() for name, t in module.state_dict().items() if t.is_floating_point()}
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], tensor)


def test_a_checkpoint_is_its_places() -> None:
    module = net()
    optimiser = torch.optim.Adam(module.parameters())
    torch.autograd.backward(module(torch.rand(1, 1, 4, 4)).sum())
    optimiser.step()
    found = read(saved({"model": module.state_dict(), "optimizer": optimiser.state_dict(), "epoch": 7, "lr": 0.1}))
    assert "model.0.weight" in found and "optimizer.state.0.exp_avg" in found


def test_views_are_what_they_show_of_their_storage() -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    found = read(saved({"turned": whole.T, "middle": whole[1:2, ::2], "empty": whole[:0], "one": whole[2, 3]}))
    assert found["turned"].tolist() == whole.T.tolist()
    assert found["middle"].tolist() == [[4.0, 6.0]]
    assert found["empty"].shape == (0, 4) and found["one"] == 11.0


def test_parameters_are_tensors() -> None:
    assert read(saved({"w": nn.Parameter(torch.ones(2))}))["w"].tolist() == [1.0, 1.0]


@pytest.fixture(scope="module")
def script() -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # others still write such files
        torch.jit.save(torch.jit.trace(net().eval(), torch.rand(1, 1, 4, 4)), buffer)  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def test_torchscript_gives_its_attributes_and_its_code_is_not_looked_at(script: bytes) -> None:
    found, expected = read(script), net().state_dict()
    assert {"0.weight", "1.running_mean", "3.bias"} <= set(found)
    np.testing.assert_array_equal(found["0.weight"], expected["0.weight"].numpy())
    with zipfile.ZipFile(io.BytesIO(script)) as opened:
        members = {name: b"no code at all" if "/code/" in name else opened.read(name) for name in opened.namelist()}
    assert read(packed(members)).keys() == found.keys()


@pytest.mark.parametrize("name", ["model.pt", "model.ts"])
def test_a_bundle_is_a_folder_or_a_zip(name: str, script: bytes, tmp_path: Path) -> None:
    data = saved(net().state_dict()) if name == "model.pt" else script
    (tmp_path / "bundle" / "models").mkdir(parents=True)
    (tmp_path / "bundle" / "models" / name).write_bytes(data)
    assert "0.weight" in read_tensors(tmp_path / "bundle")
    assert "0.weight" in read(packed({"bundle/configs/metadata.json": b"{}", f"bundle/models/{name}": data}))


def test_safetensors_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(save({"a": np.ones(2, np.float16), "n": np.ones(1, np.int64)}))
    assert {name: tensor.tolist() for name, tensor in read_tensors(tmp_path / "a.safetensors").items()} == {"a": [1, 1]}


def reworked(change: Callable[[dict[str, bytes]], object]) -> bytes:
    """An archive of one tensor of 4 numbers, changed."""
    with zipfile.ZipFile(io.BytesIO(saved({"a": torch.zeros(4)}))) as opened:
        members = {name: opened.read(name) for name in opened.namelist()}
    change(members)
    return packed(members)


def placed(name: str, data: bytes) -> Callable[[dict[str, bytes]], object]:
    return lambda members: members.update({next(n for n in members if n.endswith(name)): data})


def larger(members: dict[str, bytes]) -> None:
    """(4,) of strides (1,) becomes 2^30 times the same number."""
    name = next(n for n in members if n.endswith("data.pkl"))
    members[name] = members[name].replace(b"K\x04\x85", b"J\x00\x00\x00\x40\x85").replace(b"K\x01\x85", b"K\x00\x85")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (saved(net()), r"torch.nn.modules.container.Sequential.*state_dict alone"),
        (saved(net().state_dict(), _use_new_zipfile_serialization=False), "torch 1.6 or later"),
        (b"", "torch 1.6 or later"),
        (b"PK\x03\x04 nothing else", "a whole torch archive"),
        (packed({"readme.txt": b"hello"}), "expected data.pkl"),
        (packed({"a/data.pkl": pickle.dumps({"a": 1}, 0)}), "a pickle as torch writes them"),
        (packed({"models/model.pt": packed({"models/model.pt": packed({"a/data.pkl": b"}."})})}), "neither"),
        (reworked(placed("data/0", b"123")), "4 numbers in a storage"),
        (reworked(lambda members: members.pop(next(n for n in members if n.endswith("data/0")))), "expected a member"),
        (reworked(placed("byteorder", b"big")), "least byte first"),
        (reworked(larger), "tensor"),
        (packed({"a/data.pkl": b"\0" * 10_000_000}, zipfile.ZIP_DEFLATED), "members of at most"),
        (packed({"a/data.pkl": b"}."}, zipfile.ZIP_LZMA), "stored or deflated"),
    ],
)
def test_what_is_none_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read(data)


def test_names_of_storages_are_no_paths(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(16))
    away = b"../" * 40 + str(tmp_path / "secret").encode().lstrip(b"/")

    def change(members: dict[str, bytes]) -> None:
        name = next(n for n in members if n.endswith("data.pkl"))
        members[name] = members[name].replace(b"X\x01\x00\x00\x000", b"X" + len(away).to_bytes(4, "little") + away)

    with pytest.raises(InputError, match="expected a member"):
        read(reworked(change))


def test_a_folder_without_weights_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"models/model\.pt or models/model\.ts"):
        read_tensors(tmp_path)
