"""Latent diffusion (Rombach et al. 2022, arXiv 2112.10752): noise is taken off the latents of an autoencoder, in steps.

The autoencoder (shared/models/autoencoder.py) is trained by a study of its own and comes by `model.init`; with
`model.frozen` its weights stay as they are (shared/tasks/synthesis.py insists), and none of them is sent. The U-Net,
MONAI's, learns to tell the noise in noisy latents (Ho et al. 2020, arXiv 2006.11239, eq. 14), with the label beside
them as planes. New images are drawn along DDIM's deterministic path (Song et al. 2021, arXiv 2010.02502): the noise
that a path begins with says all about the image.
"""

from typing import Annotated

import msgspec
import torch
import torch.nn.functional as F
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from monai.networks.schedulers.ddim import DDIMScheduler
from msgspec import Meta
from torch import Tensor, nn

from shared.errors import InputError
from shared.models import autoencoder as auto
from shared.models.layers import Output, Scale
from shared.models.synthesis import planes_of, unpacked

#: Latents have deviation 1; a step may not believe in larger ones.
LARGEST = 4.0


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`width`, `halvings`, `latent`, `blocks` and `groups` of the autoencoder, as its study said; `channels` of the
    first of `levels` of the U-Net, doubled in each next one. The noise is learnt at `times`, and an image is drawn in
    `steps`."""

    width: Annotated[int, Meta(ge=4, le=256)] = 16
    halvings: Annotated[int, Meta(ge=1, le=4)] = 2
    latent: Annotated[int, Meta(ge=1, le=16)] = 3
    blocks: Annotated[int, Meta(ge=1, le=4)] = 1
    groups: Annotated[int, Meta(ge=1, le=64)] = 4
    channels: Annotated[int, Meta(ge=4, le=512)] = 32
    levels: Annotated[int, Meta(ge=1, le=4)] = 2
    times: Annotated[int, Meta(ge=10, le=4000)] = 1000
    steps: Annotated[int, Meta(ge=1, le=1000)] = 25

    @property
    def autoencoder(self) -> auto.Options:
        """The part that the other study has too."""
        return auto.Options(
            width=self.width, halvings=self.halvings, latent=self.latent, blocks=self.blocks, groups=self.groups
        )


class Diffusion(nn.Module):
    """What shared/models/synthesis.py says."""

    def __init__(self, options: Options, *, channels: int, labels: int, scale: tuple[float, float]) -> None:
        super().__init__()
        self.options, self.channels, self.scale = options, channels, Scale(*scale)
        self.autoencoder = auto.network(options.autoencoder, channels=channels, sides=2)
        self.unet = DiffusionModelUNet(
            spatial_dims=2,
            in_channels=options.latent + labels,
            out_channels=options.latent,
            num_res_blocks=1,
            channels=tuple(options.channels << level for level in range(options.levels)),
            attention_levels=(False,) * options.levels,
            norm_num_groups=options.groups,
            num_head_channels=options.channels,
        )
        # A value of its own, not a module's: the schedule is arithmetic, and no weight.
        self.kept = tuple(_schedule(options).alphas_cumprod.tolist())

    def forward(self, given: Tensor) -> Tensor | Output:
        """[n, C + 2 + L, H, W] → new images [n, C, H, W]; in training the error about the noise as the penalty."""
        image, noise, time, label = unpacked(given, self.channels)
        start = self.beginning(noise)
        if not self.training:
            return self.drawn(start, label)
        with torch.no_grad():
            latents = auto.encoded(self.autoencoder, self.scale(image))
        step = (time * self.options.times).long().clamp(0, self.options.times - 1)
        kept = torch.tensor(self.kept, device=given.device)[step][:, None, None, None]
        told = self.unet(planes_of(label, kept.sqrt() * latents + (1 - kept).sqrt() * start), step)
        return Output(told, (told.float() - start).square().flatten(1).mean(dim=1))

    def beginning(self, noise: Tensor) -> Tensor:
        """Noise of the latents' shape: of each square of `noise` [n, 1, H, W] as many numbers as a place has."""
        return F.pixel_unshuffle(noise, 2**self.options.halvings)[:, : self.options.latent]

    def drawn(self, latents: Tensor, label: Tensor) -> Tensor:
        """New images in [0, 1] from pure noise [n, latent, h, w]."""
        schedule = _schedule(self.options)
        schedule.set_timesteps(self.options.steps)
        for step in schedule.timesteps.tolist():
            told = self.unet(planes_of(label, latents), latents.new_full((len(latents),), step, dtype=torch.long))
            latents, _ = schedule.step(told.float(), step, latents)
        return auto.decoded(self.autoencoder, F.layer_norm(latents, latents.shape[1:])).clamp(0, 1)


def create(
    options: Options, *, channels: int, classes: int, size: tuple[int, ...], scale: tuple[float, float]
) -> nn.Module:
    """The net of `options`; weights from the current random state. Raises InputError for another task than synthesis
    of images, and for options that do not go together."""
    if len(size) != 2 or channels < classes + 2:
        raise InputError("model.name", expected='task.kind "synthesis" of images with diffusion', got="another")
    auto.check_size(options.autoencoder, size)
    if any((side >> options.halvings) % 2 ** (options.levels - 1) for side in size):
        got = " × ".join(map(str, size))
        expected = f"multiples of {2 ** (options.halvings + options.levels - 1)}"
        raise InputError("input.size", expected=expected, got=got, do="Or take fewer levels.")
    if options.latent > 4**options.halvings or options.channels % options.groups:
        expected = f"latent up to {4**options.halvings}, channels a multiple of {options.groups}"
        raise InputError("model.options", expected=expected, got=f"{options.latent} and {options.channels}")
    if options.steps > options.times:
        raise InputError("model.options.steps", expected=f"at most {options.times} times", got=f"{options.steps}")
    return Diffusion(options, channels=classes, labels=channels - classes - 2, scale=scale)


def _schedule(options: Options) -> DDIMScheduler:
    return DDIMScheduler(
        num_train_timesteps=options.times,
        schedule="cosine",
        clip_sample_min=-LARGEST,
        clip_sample_max=LARGEST,
    )
