"""Models of images to images: what each is sure of, beside the contract of all models."""

import math

import pytest
import torch
from monai.networks.schedulers.ddpm import DDPMScheduler
from opacus.validators import ModuleValidator
from torch import Generator, Tensor, nn

from shared.errors import InputError
from shared.models.autoencoder import encoded
from shared.models.diffusion import Diffusion
from shared.models.gan import Gan
from shared.models.layers import Output, Scale
from shared.models.registry import build
from shared.models.synthesis import drawn, packed, unpacked
from shared.parameters import layout_of, to_vector
from shared.study import Model

GAN = Model(name="gan", options={"latent": 4, "width": 4, "doublings": 1})
DIFFUSION = Model(name="diffusion", options={"width": 4, "halvings": 1, "groups": 2, "channels": 4, "steps": 4})


def images(count: int, channels: int = 1, side: int = 16) -> Tensor:
    return torch.rand(count, channels, side, side, generator=Generator().manual_seed(1))


def made(model: Model, *, channels: int = 3, classes: int = 1, size: tuple[int, ...] = (16, 16)) -> nn.Module:
    module = build(model, channels=channels, classes=classes, size=size, seed=0)
    generator = Generator().manual_seed(2)
    for weight in module.parameters():
        weight.data += 0.1 * torch.randn(weight.shape, generator=generator)
    return module


def gan(labels: int = 0) -> Gan:
    module = made(GAN, channels=3 + labels)
    assert isinstance(module, Gan)
    return module


def norms(module: nn.Module) -> float:
    return math.fsum(float(w.grad.norm()) for w in module.parameters() if w.grad is not None)


class TestGan:
    def test_what_judges_moves_the_discriminator_alone(self) -> None:
        module, given = gan(), unpacked(packed(images(3), torch.zeros(3, 0), Generator().manual_seed(0)), 1)
        torch.autograd.backward(module.judging(given.image, module.made(given.noise, given.label), given.label).sum())
        assert norms(module.generator) == 0
        assert norms(module.discriminator) > 0

    def test_what_forges_moves_the_generator_alone(self) -> None:
        module, given = gan(), unpacked(packed(images(3), torch.zeros(3, 0), Generator().manual_seed(0)), 1)
        torch.autograd.backward(module.forging(module.made(given.noise, given.label), given.label).sum())
        assert norms(module.discriminator) == 0
        assert norms(module.generator) > 0

    def test_forging_is_judged_by_the_discriminator_itself(self) -> None:
        module = gan()
        judged = module.discriminator(Scale()(images(3)))
        expected = nn.functional.softplus(-judged).flatten(1).mean(dim=1)
        torch.testing.assert_close(module.forging(images(3), torch.zeros(3, 0)), expected)

    def test_one_step_is_the_step_of_either_side(self) -> None:
        module, given = gan(), packed(images(2), torch.zeros(2, 0), Generator().manual_seed(0))
        output = module.train()(given)
        assert isinstance(output, Output)
        parts = unpacked(given, 1)
        fake = module.made(parts.noise, parts.label)
        whole = module.judging(parts.image, fake, parts.label) + module.forging(fake, parts.label)
        torch.testing.assert_close(output.penalty, whole)

    def test_it_learns_to_draw_dark_images_and_forgets_bright_ones(self) -> None:
        """Real images are all dark; a generator that begins at half-grey follows."""
        module = build(GAN, channels=3, classes=1, size=(16, 16), seed=0)
        optimizer, generator = (
            torch.optim.Adam(module.parameters(), lr=0.01, betas=(0.5, 0.9)),
            Generator().manual_seed(0),
        )
        begun = drawn(module, torch.zeros(8, 0), (1, 16, 16), seed=0).mean()
        for _ in range(60):
            output = module(packed(0.1 * images(8), torch.zeros(8, 0), generator))
            optimizer.zero_grad()
            torch.autograd.backward(output.penalty.mean())
            optimizer.step()
        assert float(drawn(module, torch.zeros(8, 0), (1, 16, 16), seed=0).mean()) < 0.6 * float(begun)


class TestDiffusion:
    def test_noise_is_added_as_the_library_adds_it(self) -> None:
        module = made(DIFFUSION)
        assert isinstance(module, Diffusion)
        latents, noise = torch.randn(3, 3, 8, 8), torch.randn(3, 3, 8, 8)
        step = torch.tensor([0, 500, 999])
        expected = DDPMScheduler(1000, "cosine").add_noise(latents, noise, step)
        kept = torch.tensor(module.kept)[step][:, None, None, None]
        torch.testing.assert_close(kept.sqrt() * latents + (1 - kept).sqrt() * noise, expected)

    def test_a_network_that_tells_the_noise_draws_the_latents_back(self) -> None:
        """Along a path with the true noise, the end is where it began: DDIM's is exact."""
        module = made(DIFFUSION)
        assert isinstance(module, Diffusion)
        with torch.no_grad():
            goal = encoded(module.autoencoder, module.scale(images(2)))

        class Oracle(nn.Module):
            def forward(self, seen: Tensor, step: Tensor) -> Tensor:
                kept = torch.tensor(module.kept)[step][:, None, None, None]
                return (seen - kept.sqrt() * goal) / (1 - kept).sqrt()

        module.unet = Oracle()  # type: ignore[assignment]
        found = module.drawn(torch.randn(2, 3, 8, 8, generator=Generator().manual_seed(3)), torch.zeros(2, 0))
        torch.testing.assert_close(
            found, module.autoencoder.decode(goal).mul(0.25).add(0.5).clamp(0, 1), atol=1e-2, rtol=0
        )

    def test_the_autoencoder_learns_nothing(self) -> None:
        module = made(DIFFUSION)
        output = module.train()(packed(images(2), torch.zeros(2, 0), Generator().manual_seed(0)))
        torch.autograd.backward(output.penalty.sum())
        assert isinstance(module, Diffusion)
        assert norms(module.autoencoder) == 0
        assert norms(module.unet) > 0


@pytest.mark.parametrize(
    ("model", "channels", "classes"),
    [
        (Model(name="restorer"), 1, 1),
        (Model(name="voxelmorph"), 2, 2),
        (Model(name="autoencoder", options={"width": 4}), 1, 1),
        (GAN, 3, 1),
        (DIFFUSION, 3, 1),
    ],
    ids=lambda value: value.name if isinstance(value, Model) else "",
)
class TestEveryModel:
    def test_the_seed_decides_the_weights_and_nothing_else_is_touched(
        self, model: Model, channels: int, classes: int
    ) -> None:
        def weights(seed: int) -> torch.Tensor:
            module = build(model, channels=channels, classes=classes, size=(16, 16), seed=seed)
            return torch.from_numpy(to_vector(module))

        before = torch.random.get_rng_state()
        assert torch.equal(weights(1), weights(1))
        assert not torch.equal(weights(1), weights(2))
        assert torch.equal(before, torch.random.get_rng_state())

    def test_it_is_fit_for_private_training(self, model: Model, channels: int, classes: int) -> None:
        module = made(model, channels=channels, classes=classes)
        assert ModuleValidator.validate(module, strict=False) == []
        assert not any(getattr(part, "inplace", False) for part in module.modules())
        assert layout_of(module).size == sum(weight.numel() for weight in module.parameters())

    def test_it_treats_each_image_on_its_own(self, model: Model, channels: int, classes: int) -> None:
        module, given = made(model, channels=channels, classes=classes).eval(), images(3, channels)
        torch.testing.assert_close(module(given)[:1], module(given[:1]), rtol=1e-4, atol=1e-4)

    def test_it_refuses_an_unknown_option_by_name(self, model: Model, channels: int, classes: int) -> None:
        with pytest.raises(InputError, match=r"model\.options\.colour"):
            made(Model(name=model.name, options={"colour": 3}), channels=channels, classes=classes)


@pytest.mark.parametrize("model", [GAN, DIFFUSION], ids=lambda model: model.name)
class TestDrawing:
    def test_the_same_seed_and_number_draw_the_same_image(self, model: Model) -> None:
        module, labels = made(model, channels=5), torch.eye(2)[torch.arange(5) % 2]
        whole = drawn(module, labels, (1, 16, 16), seed=7)
        assert whole.shape == (5, 1, 16, 16)
        assert float(whole.min()) >= 0
        assert float(whole.max()) <= 1
        rest = drawn(module, labels[3:], (1, 16, 16), seed=7, first=3)
        torch.testing.assert_close(rest, whole[3:], atol=1e-5, rtol=1e-5)
        assert not torch.allclose(drawn(module, labels, (1, 16, 16), seed=8), whole, atol=1e-4)
        assert module.training

    def test_the_label_has_a_say(self, model: Model) -> None:
        module = made(model, channels=5)
        one, two = (drawn(module, torch.eye(2)[[label]], (1, 16, 16), seed=7) for label in (0, 1))
        assert not torch.allclose(one, two, atol=1e-4)


def test_latents_have_mean_0_and_deviation_1_whoever_made_the_weights() -> None:
    module = made(Model(name="autoencoder", options={"width": 4, "halvings": 1, "groups": 2}), channels=1)
    with torch.no_grad():
        latents = encoded(module.autoencoder, images(3)).flatten(1)  # type: ignore[arg-type]
    torch.testing.assert_close(latents.mean(dim=1), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(latents.std(dim=1, correction=0), torch.ones(3), atol=1e-3, rtol=0)


def test_an_untrained_restorer_changes_nothing() -> None:
    for stride in (1, 2, 4):
        module = build(Model(name="restorer", options={"stride": stride}), channels=1, classes=1, size=(16, 16), seed=0)
        torch.testing.assert_close(module(images(2)), images(2))


def test_an_untrained_field_hardly_moves_anything() -> None:
    module = build(Model(name="voxelmorph"), channels=2, classes=2, size=(16, 16), seed=0)
    assert float(module(images(2, 2)).detach().abs().max()) < 0.1


@pytest.mark.parametrize(
    ("model", "channels", "classes", "size"),
    [
        (Model(name="restorer", options={"stride": 4}), 1, 1, (18, 16)),
        (Model(name="restorer"), 1, 2, (16, 16)),
        (Model(name="voxelmorph"), 1, 2, (16, 16)),
        (Model(name="voxelmorph"), 2, 2, (20, 16)),
        (Model(name="autoencoder"), 1, 2, (16, 16)),
        (Model(name="autoencoder"), 1, 1, (18, 16)),
        (Model(name="autoencoder", options={"width": 6}), 1, 1, (16, 16)),
        (Model(name="gan"), 2, 2, (16, 16)),
        (Model(name="gan"), 3, 1, (18, 16)),
        (Model(name="gan", options={"latent": 300}), 3, 1, (16, 16)),
        (Model(name="diffusion"), 2, 2, (16, 16)),
        (Model(name="diffusion", options={"levels": 4}), 3, 1, (16, 16)),
        (Model(name="diffusion", options={"halvings": 1, "latent": 5}), 3, 1, (16, 16)),
        (Model(name="diffusion", options={"times": 10, "steps": 11}), 3, 1, (16, 16)),
    ],
)
def test_what_a_model_cannot_do_is_refused(model: Model, channels: int, classes: int, size: tuple[int, ...]) -> None:
    with pytest.raises(InputError):
        build(model, channels=channels, classes=classes, size=size, seed=0)
