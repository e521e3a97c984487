"""A better image from a worse one: noise taken away, or detail put back. Hospitals need no labels.

The image itself is the goal; what the network is given is made from it, in training with new noise each time, in
evaluation with the same for every image. With degrade = "none" the network is given the image, and learns to rebuild it
through a narrow place: an autoencoder.

Measures of an image: PSNR in dB, structural similarity (Wang et al. 2004) and mean square error, each before and after,
and the gain in dB. Figures: their means over patients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta

from shared.errors import InputError
from shared.judged import Judged
from shared.meaning import Meaning
from shared.study import Study
from shared.tasks.base import Floats
from shared.tasks.means import Means
from shared.tasks.unlabelled import Unlabelled, check_made, check_views

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from shared.models.layers import Output

#: The noise of every evaluation.
SEED = 20
#: dB of a mean square error of 1e-10: what float32 images do not reach.
HIGHEST = 100.0
#: Readout noise beside the noise of counting, as a share of it where an image is 1.
READOUT = 0.25
#: Of "mixed": the share of structural similarity (Zhao et al. 2017, arXiv 1511.08861, §III-D).
MIX = 0.84
#: Side in pixels of the window of structural similarity, and the deviation of its bell, as a share of 11.
WINDOW, BELL = 11, 1.5
#: psnr before and after, similarity before and after, square error before and after, gain
MEANS = Means(((0, HIGHEST), (0, HIGHEST), (-1, 1), (-1, 1), (0, 1), (0, 1), (-HIGHEST, HIGHEST)))


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`degrade`: "noise" as of a low dose, Poisson's and the readout's, of deviation `strength` where an image is 1;
    "downsample" by `factor` and back; "none". `loss`: mean distance, one minus the similarity, or both."""

    degrade: Literal["noise", "downsample", "none"] = "noise"
    strength: Annotated[float, Meta(gt=0, le=1)] = 0.1
    factor: Annotated[int, Meta(ge=2, le=8)] = 2
    loss: Literal["l1", "ssim", "mixed"] = "l1"


def create(options: Options, study: Study) -> Enhancement:
    """Raises InputError for images too small for the factor, and for several views, which no network averages here."""
    if options.degrade == "downsample" and min(study.input.size) < 4 * options.factor:
        got = " × ".join(map(str, study.input.size))
        raise InputError(
            "task.options.factor", expected=f"at most a quarter of the sides {got}", got=f"{options.factor}"
        )
    check_views(study)
    return Enhancement(options, study.input.channels)


class Enhancement(Unlabelled):
    """Images of `channels` made better."""

    def __init__(self, options: Options, channels: int) -> None:
        super().__init__(MEANS)
        self.options, self.outputs, self.channels = options, channels, channels
        given = {
            "noise": f"one with noise of a low dose, of deviation {options.strength:g} where an image is 1",
            "downsample": f"one sampled down by {options.factor} and back",
            "none": "itself",
        }
        words = f"an image, held between 0 and 1; the network was given {given[options.degrade]}"
        self.meaning = Meaning(words=words, link="mean")

    def example(self, images: Tensor, target: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """The images made worse, and as they are."""
        del target
        return degraded(images, self.options, generator), images

    def loss(self, output: Tensor | Output, target: Tensor, class_weights: Sequence[float]) -> Tensor:
        """Distance from the images [n, C, …], [n]. Raises InputError for a network that returns no images."""
        from shared.models.layers import parts_of  # noqa: PLC0415  base.py says why

        del class_weights
        made, penalty = parts_of(output)
        _check(made, target)
        made, sides = made.float(), tuple(range(1, target.dim()))
        distance = (made - target).abs().mean(dim=sides)
        if self.options.loss == "l1":
            return distance + penalty
        unlike = 1 - similarity(made, target)
        return (unlike if self.options.loss == "ssim" else MIX * unlike + (1 - MIX) * distance) + penalty

    def measure(self, module: nn.Module, images: Tensor, target: Tensor, views: int) -> Floats:
        """The measures named above, [n, 7]; each image is made worse by the same noise."""
        import torch  # noqa: PLC0415

        del target, views
        sides = tuple(range(1, images.dim()))
        each = [degraded(image[None], self.options, torch.Generator().manual_seed(SEED)) for image in images]
        given = torch.cat([images[:0], *each])
        made = module(given)
        _check(made, images)
        made = torch.nan_to_num(made.float()).clamp(0, 1)
        errors = [(version - images).square().mean(dim=sides) for version in (given, made)]
        ratios = [10 * torch.log10(1 / error.clamp_min(10 ** (-HIGHEST / 10))) for error in errors]
        alike = [similarity(version, images) for version in (given, made)]
        found = torch.stack([*ratios, *alike, *errors, ratios[1] - ratios[0]], dim=1)
        return np.asarray(found.cpu().numpy(), np.float64)

    def judge(self, values: Sequence[int], chosen_on: Sequence[int] | None = None) -> Judged:
        """Means over patients; the headline is the PSNR of what the network makes."""
        del chosen_on
        found = MEANS.read(values)
        after = (
            found.figure(1, "psnr", "Peak signal-to-noise ratio of the output", unit="dB"),
            found.figure(3, "ssim", "Structural similarity of the output"),
            found.figure(5, "squared_error", "Mean square error of the output", better="lower"),
        )
        before = (
            found.figure(6, "psnr_gain", "Gain in signal-to-noise ratio", unit="dB"),
            found.figure(0, "psnr_before", "Peak signal-to-noise ratio of the input", unit="dB"),
            found.figure(2, "ssim_before", "Structural similarity of the input"),
            found.figure(4, "squared_error_before", "Mean square error of the input", better="lower"),
        )
        compared = self.options.degrade != "none"  # else the input is the goal, and there is nothing to gain
        return Judged(kind="enhancement", images=found.images, figures=after + before if compared else after)


def degraded(images: Tensor, options: Options, generator: Generator) -> Tensor:
    """[n, C, …] in [0, 1], made worse, in [0, 1] and of the same shape."""
    import torch  # noqa: PLC0415
    import torch.nn.functional as F  # noqa: PLC0415

    if options.degrade == "none":
        return images
    if options.degrade == "downsample":
        small = [max(1, side // options.factor) for side in images.shape[2:]]
        mode = "bicubic" if len(small) == 2 else "trilinear"
        coarse = F.interpolate(images, size=small, mode="area")
        fine = F.interpolate(coarse, size=list(images.shape[2:]), mode=mode, align_corners=False)
        return fine.clamp(0, 1)
    quanta = 1 / options.strength**2  # of a pixel of 1, so that their deviation is its share `strength`
    counted = torch.poisson(images.cpu() * quanta, generator=generator) / quanta
    readout = READOUT * options.strength * torch.randn(images.shape, generator=generator)
    return (counted + readout).clamp(0, 1).to(images)


def similarity(made: Tensor, images: Tensor) -> Tensor:
    """Mean structural similarity of each two images [n, C, …] in [0, 1], [n]."""
    import torch  # noqa: PLC0415
    from monai.metrics.regression import compute_ssim_and_cs  # noqa: PLC0415

    sides = images.dim() - 2
    window = min(WINDOW, *images.shape[2:])
    with torch.autocast(images.device.type, enabled=False):
        found, _ = compute_ssim_and_cs(
            made.float(),
            images,
            spatial_dims=sides,
            kernel_size=[window] * sides,
            kernel_sigma=[BELL * window / WINDOW] * sides,
        )
    mean: Tensor = found.mean(dim=tuple(range(1, images.dim())))
    return mean


def _check(made: Tensor, images: Tensor) -> None:
    check_made(made, images.shape[1:], "images", "restorer")
