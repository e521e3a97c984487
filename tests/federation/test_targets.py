"""What hospitals know of their images, from masks on disk to the figures of a run, and what needs no labels at all."""

from pathlib import Path

import numpy as np
import pytest

from client.images import Split
from client.workbench import prepare_for
from shared.errors import InputError
from shared.study import Study, parse_study
from shared.subgroups import subgroups
from simulations.faults import LocalLink
from simulations.local import LocalFederation
from simulations.sites import check_archives
from tests.federation.conftest import STUDY

TASK = 'labels = ["clear", "nodule"]'
MODEL = 'name = "cnn"\n[model.options]\nwidth = 4\nhidden = 4'
MASKS = 'kind = "segmentation"\nlabels = ["nodule"]'
UNET = 'name = "unet"\n[model.options]\nlevels = 2\nwidth = 4'
GROUPS = 'subgroups = ["sex", "manufacturer"]\nmanufacturers = ["alder imaging"]\nfolds = 3\n'


def study(task: str, model: str = MODEL, more: str = "") -> Study:
    assert TASK in STUDY
    assert MODEL in STUDY
    return parse_study(STUDY.replace(TASK, task).replace(MODEL, model) + more)


def test_a_federation_learns_from_masks(local: LocalFederation) -> None:
    asked = study(MASKS, UNET, GROUPS)
    _, result = local.run(LocalLink(local.sites()), asked)
    assert (result.status, result.because) == ("finished", "")
    judged = result.judged
    assert judged is not None
    prepared = [prepare_for(local.home(name), asked).images for name in local.names]
    assert judged.images == sum(len(images.rows(Split.TEST)) for images in prepared)
    assert result.sites.images.used == sum(len(images.target) for images in prepared)
    for images in prepared:
        assert images.target.shape == (len(images.pixels), 16, 16)
        assert images.groups is not None
        assert images.groups.shape == (len(images.target), len(subgroups(asked.evaluation)))
        assert (images.groups.sum(axis=1) == 2).all()  # one sex, one manufacturer


def test_folds_hold_out_every_patient_of_every_hospital_once(local: LocalFederation) -> None:
    for name in local.names:
        tested: list[bytes] = []
        for fold in range(3):
            images = prepare_for(local.home(name), study(TASK, more=f"folds = 3\nfold = {fold}\n")).images
            tested += [images.keys[index] for index in np.flatnonzero(images.split == Split.TEST)]
        assert sorted(tested) == sorted(images.keys)


def test_only_a_task_that_learns_of_images_alone_needs_no_labels(tmp_path: Path) -> None:
    archives = {name: tmp_path / name for name in ("a", "b")}
    for archive in archives.values():
        archive.mkdir()
    with pytest.raises(InputError, match=r"labels\.csv"):
        check_archives(archives, study(TASK))
    check_archives(archives, study('kind = "enhancement"'))
