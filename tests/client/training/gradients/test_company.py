"""Ways of taking gradients in which a patient's depends on its company must never be chosen, however it is hidden."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from client.training.gradients import choose
from client.training.gradients.base import Clipped, Loss, Patients
from client.training.gradients.choose import Example, fastest
from client.training.gradients.loop import Loop
from client.training.loop import loss_of
from client.workbench import Workbench
from shared.network import network_of
from shared.parameters import layout_of
from shared.study import MINIMAL, parse_study
from shared.tasks.registry import kind_of
from simulations.wards import found, ward

STUDY = parse_study(MINIMAL.replace("[32, 32]", "[8, 8]"))
PRIVATE = parse_study(
    MINIMAL.replace("[32, 32]", "[8, 8]").replace(
        'mode = "off"', 'mode = "local"\nepsilon = 8.0\ndelta = 1e-5\nclip = 1.0\nsampling_rate = 0.5'
    )
)


@dataclass(frozen=True)
class Sociable:
    """One backward for all, of use to nobody; the sum grows by a thousandth with a patient's place in the chunk, if
    patients have fewer than `below` images and the place is not one of `but`."""

    below: int = 100
    but: tuple[int, ...] = ()
    name = "sociable"

    def fits(self, module: nn.Module) -> bool:
        return True

    def clipped_sum(self, module: nn.Module, loss: Loss, patients: Patients, clip: float) -> Clipped:
        total, within = torch.zeros(sum(p.numel() for p in module.parameters()), dtype=torch.float64), 0
        for place in range(patients.real):
            one = Patients(patients.images[place : place + 1], patients.target[place : place + 1], 1)
            if float(one.images.sum()) == 0:  # saves the time that makes it the quickest
                continue
            part = Loop().clipped_sum(module, loss, one, clip)
            moves = patients.target.shape[1] < self.below and place not in self.but
            total += part.total * (1 + 1e-3 * place * moves)
            within += part.within
        return Clipped(total, within)


def chosen(monkeypatch: pytest.MonkeyPatch, sociable: Sociable, images: int) -> str:
    """What is chosen between `sociable`, which takes no time, and `Loop`."""
    monkeypatch.setattr(choose, "WAYS", (sociable, Loop()))
    monkeypatch.setattr(choose, "_found", {})
    monkeypatch.setattr(choose, "_seconds", lambda way, *_: float(way.name.startswith("loop")))
    return fastest(
        network_of(STUDY), loss_of(kind_of(STUDY), (1.0, 1.0)), images=images,
        example=Example((1, 8, 8), torch.tensor(0)), device=torch.device("cpu"),
        precision="float32", limit_bytes=1 << 30,
    ).way.name  # fmt: skip


def test_a_way_that_depends_on_company_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(monkeypatch, Sociable(), images=1) == "loop"


def test_not_even_at_places_that_nobody_looks_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patients are at every place of a chunk."""
    assert chosen(monkeypatch, Sociable(but=(0, 16, 31)), images=1) == "loop"


def test_nor_where_a_patient_has_fewer_images_than_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such patients are computed at another shape (chunks.py)."""
    assert chosen(monkeypatch, Sociable(below=4), images=4) == "loop"


def test_nor_under_weights_that_hide_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A lying coordinator begins with weights of which no gradient but the last bias's tells anything."""

    @dataclass(frozen=True)
    class Hidden(Sociable):
        def clipped_sum(self, module: nn.Module, loss: Loss, patients: Patients, clip: float) -> Clipped:
            found = super().clipped_sum(module, loss, patients, clip)
            exact = Loop().clipped_sum(module, loss, patients, clip)
            return Clipped(torch.cat([found.total[:-2], exact.total[-2:]]), exact.within)

    monkeypatch.setattr(choose, "WAYS", (Hidden(), Loop()))
    monkeypatch.setattr(choose, "_found", {})
    monkeypatch.setattr(choose, "_seconds", lambda way, *_: float(way.name.startswith("loop")))
    home = found(tmp_path, ("alder",), "").home("alder")
    bench = Workbench(home, note=lambda *_, **__: None, prepare=lambda *_: ward(3))
    study = PRIVATE
    bench.network(study, memoryview(bytes(4 * layout_of(network_of(study)).size)))
    assert bench.private(study, (1.0, 1.0))[2].way.name == "loop"
