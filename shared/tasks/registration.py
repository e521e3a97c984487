"""One image laid over another: how far, and in which direction, each place must be looked for. No labels are needed.

The second image is the first after a random smooth deformation, so the truth is known. The network is given both,
moving and fixed, as channels, and returns a displacement field in pixels, [n, sides, *size]: the moving image looked up
at every place plus its displacement should be the fixed one. The loss is how unlike they are, plus how much the field
bends.

Measures of an image, each before and after: correlation of the two, mean target registration error in pixels over all
places that both show; and the share of places where the field folds.
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
from shared.tasks.seeds import own_generator
from shared.tasks.unlabelled import Unlabelled, check_made, check_views

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from shared.models.layers import Output

#: Of the deformations of evaluations.
LABEL = b"konsil/registration/v1"
#: Of the output.
WORDS = (
    "displacements in pixels along each side: the moving image, looked up at every place plus its displacement, lies"
    " over the fixed one; the network is given the channels of the moving image, then those of the fixed one"
)
#: Errors in pixels beyond it are taken for it.
FARTHEST = 256.0
#: Deviations of a knot, at most: neighbours a quarter of whose distance is one deviation do not overtake each other.
MOST = 1.5
#: Side in pixels of the window of "lncc".
WINDOW = 9
#: correlation before and after, target registration error before and after, share of folds
MEANS = Means(((-1, 1), (-1, 1), (0, FARTHEST), (0, FARTHEST), (0, 1)))


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The random deformation: `strength`, the deviation in pixels along each side, of knots `spacing` pixels apart.
    `similarity`: mean square distance, or local correlation, for images of unlike contrast. `bending`: the weight of
    the field's bending energy."""

    strength: Annotated[float, Meta(gt=0, le=64)] = 2.0
    spacing: Annotated[int, Meta(ge=4, le=256)] = 16
    similarity: Literal["mse", "lncc"] = "mse"
    bending: Annotated[float, Meta(ge=0, le=100)] = 0.01


def create(options: Options, study: Study) -> Registration:
    """Raises InputError for a deformation that would fold, and for several views, which no field averages."""
    if options.strength > options.spacing / 4:
        expected = f"at most a quarter of the spacing {options.spacing}, so that nothing folds"
        raise InputError("task.options.strength", expected=expected, got=f"{options.strength:g}")
    check_views(study)
    return Registration(options, study.input.channels, len(study.input.size))


class Registration(Unlabelled):
    """Registration of images of `channels` with `sides`."""

    def __init__(self, options: Options, channels: int, sides: int) -> None:
        super().__init__(MEANS)
        self.options, self.outputs, self.channels = options, sides, 2 * channels
        self.meaning = Meaning(words=WORDS, channels=("slices", "rows", "columns")[-sides:])

    def example(self, images: Tensor, target: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Moving and fixed image as channels, [n, 2C, …], for the network and for the loss."""
        import torch  # noqa: PLC0415  base.py says why

        from shared.models.warp import warped  # noqa: PLC0415

        del target
        pair = torch.cat([warped(images, deformation(images, self.options, generator)), images], dim=1)
        return pair, pair

    def loss(self, output: Tensor | Output, target: Tensor, class_weights: Sequence[float]) -> Tensor:
        """Of fields [n, sides, *size] for pairs [n, 2C, *size], [n]. Raises InputError for no such fields."""
        from shared.models.layers import parts_of  # noqa: PLC0415
        from shared.models.warp import bending, warped  # noqa: PLC0415

        del class_weights
        field, penalty = parts_of(output)
        self._check(field, target)
        field, (moving, fixed) = field.float(), target.chunk(2, dim=1)
        return self._unlike(warped(moving, field), fixed) + self.options.bending * bending(field) + penalty

    def measure(self, module: nn.Module, images: Tensor, target: Tensor, views: int) -> Floats:
        """The measures named above, [n, 5]; each image has a deformation of its own, the same in every evaluation."""
        import torch  # noqa: PLC0415

        from shared.models.warp import determinants, warped  # noqa: PLC0415

        del target, views
        truth = torch.cat(
            [
                images.new_zeros(0, self.outputs, *images.shape[2:]),
                *(deformation(image[None], self.options, own_generator(image, LABEL)) for image in images),
            ]
        )
        moving = warped(images, truth)
        field = module(torch.cat([moving, images], dim=1))
        self._check(field, torch.cat([moving, images], dim=1))
        field = torch.nan_to_num(field.float())
        folded = (determinants(field) <= 0).flatten(1).float().mean(dim=1)
        alike = [correlation(version, images) for version in (moving, warped(moving, field))]
        apart = [target_error(found, truth) for found in (torch.zeros_like(field), field)]
        found = torch.stack([*alike, *apart, folded], dim=1)
        return np.asarray(found.cpu().numpy(), np.float64)

    def judge(self, values: Sequence[int], chosen_on: Sequence[int] | None = None) -> Judged:
        """Means over patients; the headline is the target registration error that is left."""
        del chosen_on
        found = MEANS.read(values)
        return Judged(
            kind="registration",
            images=found.images,
            figures=(
                found.figure(3, "target_error", "Target registration error", better="lower", unit="pixels"),
                found.figure(2, "target_error_before", "The same before", better="lower", unit="pixels"),
                found.figure(1, "correlation", "Correlation of the images"),
                found.figure(0, "correlation_before", "The same before"),
                found.figure(4, "folded", "Share of the field that folds", better="lower"),
            ),
        )

    def _unlike(self, moved: Tensor, fixed: Tensor) -> Tensor:
        """[n]; 0 of equal images, of "lncc" −1."""
        if self.options.similarity == "mse":
            return (moved - fixed).square().flatten(1).mean(dim=1)
        import torch  # noqa: PLC0415
        from monai.losses.image_dissimilarity import LocalNormalizedCrossCorrelationLoss  # noqa: PLC0415

        unlike = LocalNormalizedCrossCorrelationLoss(fixed.dim() - 2, kernel_size=WINDOW, reduction="none")
        with torch.autocast(fixed.device.type, enabled=False):
            found: Tensor = unlike(moved, fixed).flatten(1).mean(dim=1)
        return found

    def _check(self, field: Tensor, pair: Tensor) -> None:
        check_made(field, [self.outputs, *pair.shape[2:]], "displacements", "voxelmorph")


def deformation(images: Tensor, options: Options, generator: Generator) -> Tensor:
    """Random displacements, pixels, [n, sides, *size] for `images` [n, C, *size], zero at the frame."""
    import torch  # noqa: PLC0415
    import torch.nn.functional as F  # noqa: PLC0415

    size = images.shape[2:]
    knots = [max(1, round((side - 1) / options.spacing) - 1) for side in size]  # beside those of the frame
    drawn = torch.randn((len(images), len(size), *knots), generator=generator).clamp(-MOST, MOST)
    framed = F.pad(options.strength * drawn, (1, 1) * len(size))
    mode = "bicubic" if len(size) == 2 else "trilinear"
    return F.interpolate(framed, size=list(size), mode=mode, align_corners=True).to(images)


def target_error(field: Tensor, truth: Tensor) -> Tensor:
    """Mean distance in pixels between where each place of the moving image lies in the fixed one and where `field`
    says, [n]. The moving image at q is the fixed one at p = q + `truth`(q); `field` finds p at p + field(p)."""
    import torch  # noqa: PLC0415

    from shared.models.warp import warped  # noqa: PLC0415

    found = truth + warped(field, truth)  # p + field(p) − q
    inside = torch.ones_like(truth[:, 0], dtype=torch.bool)
    for side, length in enumerate(truth.shape[2:]):
        along = torch.arange(length, device=truth.device).reshape(
            [-1 if s == side else 1 for s in range(truth.dim() - 2)]
        )
        inside = inside & (along + truth[:, side] >= 0) & (along + truth[:, side] <= length - 1)
    distance = found.square().sum(dim=1).sqrt() * inside  # [n, *size]
    mean: Tensor = distance.flatten(1).sum(dim=1) / inside.flatten(1).sum(dim=1).clamp_min(1)
    return mean


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """Of the pixels of each two images [n, C, …], [n]; 0 of an image that is all the same."""
    a, b = (image.flatten(1) - image.flatten(1).mean(dim=1, keepdim=True) for image in (first, second))
    found: Tensor = (a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1)).clamp_min(1e-8)
    return found
