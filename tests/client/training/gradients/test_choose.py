from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from client.training.gradients import choose
from client.training.gradients.base import Clipped, Loss, PatientGradients, Patients
from client.training.gradients.choose import WAYS, Choice, fastest
from client.training.gradients.independence import BITWISE, independent
from client.training.gradients.loop import Loop
from client.training.gradients.precision import Precise, Precision
from shared.errors import SiteError
from shared.models.layers import Output
from shared.models.registry import build
from shared.study import Model

CPU = torch.device("cpu")


def loss(output: Tensor | Output, label: Tensor) -> Tensor:
    assert isinstance(output, Tensor)
    return F.cross_entropy(output, label, reduction="none")


def net() -> nn.Module:
    return build(Model(name="cnn", options={"width": 4, "hidden": 0}), channels=1, classes=2, size=(16, 16), seed=0)


def chosen(module: nn.Module, *, images: int = 1, precision: Precision = "float32", limit: int = 1 << 30) -> Choice:
    example = choose.Example((1, 16, 16), torch.tensor(0))
    return fastest(module, loss, images=images, example=example, device=CPU, precision=precision, limit_bytes=limit)


def made(count: int, each: int = 1) -> Patients:
    return Patients(torch.rand(count, each, 1, 16, 16), torch.zeros(count, each, dtype=torch.int64), count)


@dataclass(frozen=True)
class Mixing:
    """A gradient into which `share` of the mean image of its chunk goes: what a batch statistic would do."""

    share: float
    name: str = "layers"

    def fits(self, module: nn.Module) -> bool:
        return True

    def clipped_sum(self, module: nn.Module, loss: Loss, patients: Patients, clip: float) -> Clipped:
        mixed = patients.images + self.share * patients.images.mean(dim=0)
        return Loop().clipped_sum(module, loss, Patients(mixed, patients.target, patients.real), clip)


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "_found", {})


@pytest.mark.parametrize("images", [1, 3])
def test_the_quickest_way_is_used_and_said(images: int) -> None:
    choice = chosen(net(), images=images)
    assert choice.seconds[choice.way.name] == min(choice.seconds.values())
    assert set(choice.seconds) == {way.name for way in WAYS}
    assert 1 <= choice.at_once // images <= choose.MOST
    assert f"by {choice.way.name}, {choice.at_once} images at once" in choice.line
    assert choice.way.clipped_sum(net(), loss, made(2, images), 1.0).total.norm() > 0


def test_it_is_measured_once_for_an_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    first = chosen(net())
    monkeypatch.setattr(choose, "_seconds", None)
    assert chosen(net()) is first
    frozen = net()
    next(frozen.parameters()).requires_grad_(False)
    with pytest.raises(TypeError):
        chosen(frozen)


def test_memory_bounds_the_chunk_and_one_patient_must_fit() -> None:
    assert chosen(net(), limit=1 << 30).at_once > chosen(net(), limit=1 << 20).at_once >= 1
    with pytest.raises(SiteError, match="room for one patient"):
        chosen(net(), limit=1 << 10)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_no_way_mixes_patients(way: PatientGradients, precision: Precision) -> None:
    assert independent(Precise(way, precision), net(), loss, made(4, 2), 2.0**-20)


@pytest.mark.parametrize(("share", "tolerated"), [(1e-3, 2.0**-20), (1e-6, BITWISE)])
def test_a_way_that_mixes_patients_is_seen(share: float, tolerated: float) -> None:
    assert not independent(Mixing(share), net(), loss, made(4), tolerated)
    assert independent(Mixing(0.0), net(), loss, made(4), tolerated)


def test_a_way_that_mixes_patients_is_not_used_however_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "WAYS", (Mixing(1e-2, name="mixing"), Loop()))
    monkeypatch.setattr(choose, "_seconds", lambda way, *_: 1.0 if way.name.startswith("mixing") else 2.0)
    for precision in ("float32", "bfloat16"):
        assert "mixing" not in chosen(net(), precision=precision).way.name


def test_bfloat16_is_used_only_where_asked_for_and_is_put_back() -> None:
    assert not any("bfloat16" in name for name in chosen(net()).seconds)
    assert any("bfloat16" in name for name in chosen(net(), precision="bfloat16").seconds)
    assert not torch.is_autocast_enabled("cpu")
