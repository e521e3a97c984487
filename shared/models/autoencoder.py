"""MONAI's AutoencoderKL (Rombach et al. 2022, arXiv 2112.10752, §3.1) as a network that rebuilds its image.

The latents of an image are scaled to mean 0 and deviation 1, image by image, in place of a penalty that pulls them
there: what the decoder is given has the same size whoever trained it, and a diffusion over latents needs no measured
scale. Nothing is drawn: the encoder's mean is decoded, a regularised autoencoder (Ghosh et al. 2020, arXiv 1903.12436).
So its log-deviations are not used; their weights are never trained, and nothing of them is sent.

Names of weights begin with "autoencoder", here and in shared/models/diffusion.py: a run of this one gives that one's
`model.init`.
"""

from typing import Annotated

import msgspec
import torch.nn.functional as F
from monai.networks.nets.autoencoderkl import AutoencoderKL
from msgspec import Meta
from torch import Tensor, nn

from shared.errors import InputError
from shared.models.layers import CENTRE, SPREAD, Scale

__all__ = ["Autoencoder", "Options", "create", "decoded", "encoded", "network"]


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`width` channels in the first of the levels, doubled in each next one; images are halved `halvings` times, and
    each place left has `latent` numbers."""

    width: Annotated[int, Meta(ge=4, le=256)] = 16
    halvings: Annotated[int, Meta(ge=1, le=4)] = 2
    latent: Annotated[int, Meta(ge=1, le=16)] = 3
    blocks: Annotated[int, Meta(ge=1, le=4)] = 1
    groups: Annotated[int, Meta(ge=1, le=64)] = 4


class Autoencoder(nn.Module):
    """[n, channels, (D,) H, W] in [0, 1] → the same, rebuilt."""

    def __init__(self, options: Options, *, channels: int, sides: int, scale: tuple[float, float]) -> None:
        super().__init__()
        self.scale = Scale(*scale)
        self.autoencoder = network(options, channels=channels, sides=sides)

    def forward(self, images: Tensor) -> Tensor:
        """[n, channels, …] → [n, channels, …]."""
        return decoded(self.autoencoder, encoded(self.autoencoder, self.scale(images)))


def create(
    options: Options, *, channels: int, classes: int, size: tuple[int, ...], scale: tuple[float, float]
) -> nn.Module:
    """The net of `options`; weights from the current random state. Raises InputError for a task that does not rebuild
    images, and for sizes that cannot be halved as often."""
    if classes != channels:
        expected = 'task.kind "enhancement" with autoencoder: as many channels out as in'
        raise InputError("model.name", expected=expected, got=f"{channels} in, {classes} out")
    check_size(options, size)
    return Autoencoder(options, channels=channels, sides=len(size), scale=scale)


def check_size(options: Options, size: tuple[int, ...]) -> None:
    """Raise InputError unless every side can be halved as often as `options` says, and widths hold whole groups."""
    if any(side % 2**options.halvings for side in size):
        got = " × ".join(map(str, size))
        raise InputError(
            "input.size", expected=f"multiples of {2**options.halvings}", got=got, do="Or halve less often."
        )
    if options.width % options.groups:
        raise InputError("model.options.width", expected=f"a multiple of {options.groups}", got=f"{options.width}")


def network(options: Options, *, channels: int, sides: int) -> AutoencoderKL:
    """MONAI's, without attention; the weights of the deviations are not trained."""
    levels = options.halvings + 1
    found = AutoencoderKL(
        spatial_dims=sides,
        in_channels=channels,
        out_channels=channels,
        num_res_blocks=options.blocks,
        channels=tuple(options.width << level for level in range(levels)),
        attention_levels=(False,) * levels,
        latent_channels=options.latent,
        norm_num_groups=options.groups,
        with_encoder_nonlocal_attn=False,
        with_decoder_nonlocal_attn=False,
    )
    found.quant_conv_log_sigma.requires_grad_(False)
    return found


def encoded(autoencoder: AutoencoderKL, images: Tensor) -> Tensor:
    """Latents [n, latent, …/2^halvings] of scaled images, of mean 0 and deviation 1 each."""
    mean: Tensor = autoencoder.quant_conv_mu(autoencoder.encoder(images))
    return F.layer_norm(mean, mean.shape[1:])


def decoded(autoencoder: AutoencoderKL, latents: Tensor) -> Tensor:
    """The inverse, to [0, 1]: about there, as the loss wants it."""
    images: Tensor = autoencoder.decode(latents)
    return images * SPREAD + CENTRE
