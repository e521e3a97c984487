"""Shadow models of a finished run: who is judged, what is refused, and that the attack is the one that is described."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from client.home import Home
from client.images import Split
from client.workbench import prepare_for
from shared.errors import InputError
from shared.study import read_study
from simulations.audit.evidence import claim_of
from simulations.audit.shadows import Target, attack


@pytest.fixture
def target(run: Path) -> Target:
    return Target(run, read_study(run / "study.toml"), (run / "sites" / "alder", run / "sites" / "birch"), 1)


def test_members_are_the_patients_that_were_trained_on(target: Target) -> None:
    told: list[tuple[int, int]] = []
    found = attack(target, shadows=4, claim=claim_of(target.study), told=lambda *now: told.append(now), seed=0)
    homes = [prepare_for(Home(home), target.study).images for home in target.homes]
    assert found.members == sum(len(images.patients(Split.TRAIN)) for images in homes)
    held_out = (Split.VALIDATION, Split.TEST)
    assert found.others == sum(len(images.patients(split)) for images in homes for split in held_out)
    assert found.shadows == 4
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert 0 <= found.low <= found.auc <= found.high <= 1
    assert np.isfinite(found.edges).all()
    # ε = 8 lets no test find more than this, and a test that guesses finds as many as it wrongly calls
    assert all(rate.false < (rate.allowed or 0) < 1 for rate in found.rates)


def test_a_run_without_a_model_is_refused(target: Target, tmp_path: Path) -> None:
    shutil.copytree(target.folder / "sites", tmp_path / "sites")
    with pytest.raises(InputError, match=r"model\.safetensors: expected a run's final model, got no such file"):
        attack(replace(target, folder=tmp_path), shadows=4, claim=None, told=lambda *_: None)


def test_another_models_weights_are_refused(target: Target, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"model\.safetensors: expected whole safetensors bytes"):
        attack(replace(target, folder=tmp_path), shadows=4, claim=None, told=lambda *_: None)
