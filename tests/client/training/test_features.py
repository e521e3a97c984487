"""Features in the place of images: the same weights, for a fraction of the work."""

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from torch import nn

from client.images import Images
from client.training.features import Learned, features_of, has_fixed
from client.training.loop import train
from shared.network import network_of
from shared.parameters import to_vector
from shared.study import MINIMAL, Study, parse_study
from shared.study.model import Model

PLAIN = parse_study(MINIMAL)
HEADS = {
    "cnn": Model(name="cnn", options={"width": 4}, trained=("head",)),
    "frozen": Model(name="cnn", options={"width": 4}, frozen=("blocks",)),
    "resnet": Model(name="resnet", options={"width": 4, "blocks": "1", "stem": "small"}, trained=("head",)),
    "vit": Model(name="vit", options={"patch": 8, "width": 12, "depth": 1}, trained=("head",)),
}
WHOLE = {
    "all": Model(name="cnn"),
    "norms": Model(name="cnn", trained=("norm", "head")),
    "adapters": Model(name="vit", options={"patch": 8, "width": 12, "depth": 1}, adapter_rank=2),
}


def study_of(model: Model) -> Study:
    return replace(PLAIN, model=model)


def images() -> Images:
    random = np.random.default_rng(0)
    pixels, count = random.random((12, 1, 32, 32), np.float32), 12
    keys = tuple(bytes([number]) * 32 for number in range(count))
    split = np.array([0] * 8 + [1] * 4, np.int64)
    return Images(pixels, np.arange(count) % 2, np.arange(count), keys, split)


@pytest.mark.parametrize("name", HEADS)
def test_a_head_learns_the_same_of_features(name: str) -> None:
    study, trained = study_of(HEADS[name]), []
    for by_features in (False, True):
        module, some = network_of(study), images()
        assert has_fixed(module, study.training)
        part: nn.Module = module
        if by_features:
            part, some = Learned(module), features_of(module, some)
            assert some.pixels.ndim == 2
        train(part, some, study, round=1)
        trained.append(to_vector(module))
    np.testing.assert_allclose(trained[0], trained[1], atol=1e-6)
    assert (trained[0] != to_vector(network_of(study))).any()


@pytest.mark.parametrize("name", WHOLE)
def test_a_network_whose_body_learns_needs_its_images(name: str) -> None:
    assert not has_fixed(network_of(study_of(WHOLE[name])), PLAIN.training)


def test_images_that_change_with_every_step_have_no_features() -> None:
    training = replace(PLAIN.training, augmentation=("flip",))
    assert not has_fixed(network_of(study_of(HEADS["cnn"])), training)
    assert not has_fixed(torch.nn.Linear(1, 1), PLAIN.training)
