from collections.abc import Mapping

import pytest
import torch
from opacus.validators import ModuleValidator

from shared.errors import InputError, MisuseError
from shared.models.registry import MODELS, build
from shared.parameters import layout_of, to_vector
from shared.study import Model

SIZE = (33, 48)
#: A linear scattering head starts at zero whatever the seed.
HIDDEN: dict[str, dict[str, int | str]] = {"scattering": {"hidden": 3}}
#: Of two images; of all others [2, classes]. RetinaNet: two anchors at each place of three maps.
SHAPES: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("dynunet", "segresnet", "swinunetr", "unet", "unetr"), (2, 2, *SIZE)),
    "retinanet": (2, 2 * (9 * 12 + 5 * 6 + 3 * 3), 2 + 8),
}


#: A transformer knows whole patches only.
SIZES: dict[str, tuple[int, int]] = {"vit": (32, 48)}
#: What these are given and return is no image and its logits: test_image_models.py holds their contract.
OF_IMAGES = {"autoencoder", "diffusion", "gan", "restorer", "voxelmorph"}


def make(name: str, options: Mapping[str, int | str] | None = None, seed: int = 0) -> torch.nn.Module:
    size = SIZES.get(name, SIZE)
    return build(Model(name=name, options=dict(options or {})), channels=3, classes=2, size=size, seed=seed)


@pytest.mark.parametrize("name", sorted(set(MODELS) - OF_IMAGES))
class TestEveryModel:
    def test_maps_images_to_logits(self, name: str) -> None:
        assert make(name).eval()(torch.rand(2, 3, *SIZES.get(name, SIZE))).shape == SHAPES.get(name, (2, 2))

    def test_same_seed_same_weights_and_global_random_state_untouched(self, name: str) -> None:
        before = torch.random.get_rng_state()
        first, second, other = (to_vector(make(name, HIDDEN.get(name), seed)) for seed in (1, 1, 2))
        assert (first == second).all()
        assert (first != other).any()
        assert torch.equal(before, torch.random.get_rng_state())

    def test_is_fit_for_private_training(self, name: str) -> None:
        net = make(name)
        assert not any(isinstance(part, torch.nn.ReLU) and part.inplace for part in net.modules())
        assert ModuleValidator.validate(net, strict=False) == []
        assert layout_of(net).size == sum(p.numel() for p in net.parameters())

    def test_treats_each_image_on_its_own(self, name: str) -> None:
        net, images = make(name).eval(), torch.rand(3, 3, *SIZES.get(name, SIZE))
        torch.testing.assert_close(net(images)[:1], net(images[:1]), rtol=1e-4, atol=1e-5)

    def test_refuses_an_unknown_option_by_name(self, name: str) -> None:
        with pytest.raises(InputError, match=r"model.options.colour"):
            make(name, {"colour": 3})


def test_an_unknown_model_lists_the_registered_ones_and_the_nearest() -> None:
    with pytest.raises(InputError, match=r"densenet121.*got 'densnet121'.*Did you mean 'densenet121'"):
        make("densnet121")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widht": 8}, "model.options.widht.*Did you mean 'width'"),
        ({"width": 0}, "model.options.width: expected `int` >= 1, got 0"),
        ({"width": "8"}, "model.options.width: expected `int`, got '8'"),
        ({"pooling": "mean"}, "model.options.pooling: expected one of average, max, flatten, got 'mean'"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, int | str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make("cnn", options)


def test_densenet_refuses_images_that_would_vanish() -> None:
    with pytest.raises(InputError, match=r"input.size: expected sides of at least 32"):
        build(Model(name="densenet121"), channels=1, classes=2, size=(16, 64), seed=0)


def test_no_channels_is_a_bug_of_the_caller() -> None:
    with pytest.raises(MisuseError):
        build(Model(name="cnn"), channels=0, classes=2, size=(16, 16), seed=0)


@pytest.mark.parametrize("pooling", ["average", "max", "flatten"])
@pytest.mark.parametrize(
    "options", [{}, {"stride": 2, "hidden": 0, "blocks": 4}, {"standardise": 1, "activation": "tanh"}]
)
def test_cnn_options_fit_together(pooling: str, options: dict[str, int | str]) -> None:
    assert make("cnn", {"pooling": pooling, **options})(torch.rand(1, 3, *SIZE)).isfinite().all()


def test_cnn_of_three_channels_counts_as_on_paper() -> None:
    net = make("cnn", {"width": 2, "hidden": 0})
    convolutions = (3 * 9 + 1) * 2 + (2 * 9 + 1) * 4 + (4 * 9 + 1) * 8
    norms, head = 2 * (2 + 4 + 8), 8 * 2 + 2
    assert layout_of(net).size == convolutions + norms + head


def test_a_head_larger_than_any_plan_is_refused_before_it_is_made() -> None:
    options: dict[str, int | float | str] = {"pooling": "flatten", "width": 256, "blocks": 1, "hidden": 4096}
    with pytest.raises(InputError, match="weights in the head"):
        build(Model(name="cnn", options=options), channels=1, classes=2, size=(4096, 4096), seed=0)


@pytest.mark.parametrize("name", ["cnn", "densenet121"])
@pytest.mark.parametrize("pooling", ["average", "flatten"])
def test_volumes_become_logits_too(name: str, pooling: str) -> None:
    options: dict[str, int | float | str] = {"pooling": pooling, "standardise": 1, "width": 2} if name == "cnn" else {}
    net = build(Model(name=name, options=options), channels=1, classes=2, size=(32, 40, 33), seed=0)
    assert net(torch.rand(2, 1, 32, 40, 33)).shape == (2, 2)
    assert ModuleValidator.validate(net, strict=False) == []


def test_what_a_model_cannot_do_it_refuses() -> None:
    with pytest.raises(InputError, match="cnn or densenet121 for volumes"):
        build(Model(name="scattering"), channels=1, classes=2, size=(32, 32, 32), seed=0)
    with pytest.raises(InputError, match=r"model\.scale"):
        build(Model(name="scattering", scale=(0.4, 0.2)), channels=1, classes=2, size=(32, 32), seed=0)


def test_the_scale_of_a_study_is_the_networks() -> None:
    plain, scaled = (
        build(Model(name="cnn", scale=scale), channels=1, classes=2, size=(16, 16), seed=0)
        for scale in ((0.5, 0.25), (0.25, 0.5))
    )
    images = torch.rand(2, 1, 16, 16)
    # both see the same values: (y − 0.25) / 0.5 = (x − 0.5) / 0.25 for y = 2 x − 0.75
    torch.testing.assert_close(scaled(2 * images - 0.75), plain(images))
