"""New images like those of the hospitals; with labels in the study, of a label that is asked for.

A model of it (gan, diffusion) says its own loss and is given noise beside the image (shared/models/synthesis.py).

How good: features of real images and of as many new ones, each drawn from noise that is its own real image's and with
the same label; mean and covariance of both come out of masked sums, and the headline is the Fréchet distance between
the two normal distributions. The features are wavelet statistics (shared/models/wavelets.py), the same everywhere and
trained on nothing: the figure is made as FID is, but it is not the FID of the Inception network, and no such figure can
be compared with it. Beside it stands the distance between two halves of the real patients, which is not 0 either: few
images make every such distance larger.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from shared.errors import InputError, unlikely
from shared.judged import Figure, Judged, known
from shared.meaning import Meaning
from shared.study import Study
from shared.tasks.base import Floats, Target
from shared.tasks.moments import Cloud, Moments, frechet, spread_ratio
from shared.tasks.seeds import own_generator
from shared.tasks.unlabelled import check_views

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from shared.models.layers import Output

#: Models that take what `example` gives.
MODELS = ("gan", "diffusion")
#: Of the output.
WORDS = "a new image, held between 0 and 1, drawn from noise and a label in channels of their own"
#: Of the noise of evaluations.
LABEL = b"konsil/synthesis/v1"
#: Directions of the wavelets, over which is averaged.
ANGLES = 4


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`scales` of the wavelets whose statistics are compared."""

    scales: Annotated[int, Meta(ge=1, le=4)] = 2


def create(options: Options, study: Study) -> Synthesis:
    """Raises InputError for volumes and stacks, for one label, for several views, for a model that makes no images, and
    for a diffusion whose autoencoder would move."""
    if study.input.kind != "image":
        raise InputError("input.kind", expected='"image" with synthesis', got=study.input.kind)
    if len(study.task.labels) == 1:
        raise InputError("task.labels", expected="none, or two and more", got="one")
    check_views(study)
    if study.model.name not in MODELS:
        expected = f"{' or '.join(MODELS)} with synthesis"
        raise InputError("model.name", expected=expected, got=study.model.name, do="Name one of them.")
    if study.model.name == "diffusion" and "autoencoder" not in study.model.frozen:
        got, do = str(list(study.model.frozen)), "Train it first, and give it as model.init."
        raise InputError("model.frozen", expected='["autoencoder"] with diffusion', got=got, do=do)
    return Synthesis(options, study.input.channels, len(study.task.labels))


class Synthesis:
    """Synthesis of images of `channels`, of `labels` or of none."""

    noisy = False

    def __init__(self, options: Options, channels: int, labels: int) -> None:
        self.target: Target = "class" if labels else "none"
        self.outputs, self.channels, self.labels = channels, channels + 2 + labels, labels
        self.scales, self.moments = options.scales, Moments(features(channels, options.scales))
        self.counts = 3 * self.moments.counts
        self.meaning = Meaning(words=WORDS)

    def presence(self, target: NDArray[np.generic]) -> NDArray[np.bool_]:
        """[n] → [n, labels]."""
        found: NDArray[np.bool_] = target[:, None] == np.arange(self.labels)
        return found

    def example(self, images: Tensor, target: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Images with noise, time and label as channels; the loss needs no more."""
        from shared.models.synthesis import packed  # noqa: PLC0415  base.py says why

        return packed(images, self._label(target), generator), target

    def loss(self, output: Tensor | Output, target: Tensor, class_weights: Sequence[float]) -> Tensor:
        """What the model says, [n]."""
        from shared.models.layers import parts_of  # noqa: PLC0415

        del target, class_weights
        made, penalty = parts_of(output)
        return made.new_zeros(len(made)).float() + penalty

    def measure(self, module: nn.Module, images: Tensor, target: Tensor, views: int) -> Floats:
        """Features of each image and of a new one, [n, 2F]."""
        import torch  # noqa: PLC0415

        from shared.models.synthesis import packed  # noqa: PLC0415
        from shared.models.wavelets import Wavelets  # noqa: PLC0415

        del views
        if not len(images):
            return np.empty((0, 2 * self.moments.features))
        label, black = self._label(target), torch.zeros_like(images[:1])
        noise = [own_generator(image, LABEL) for image in images]
        made = module(torch.cat([packed(black, label[k : k + 1], own) for k, own in enumerate(noise)]))
        wavelets = Wavelets(channels=self.outputs, scales=self.scales, angles=ANGLES, order=1, turned=True)
        of_images = wavelets.to(images.device)
        found = torch.cat([of_images(images), of_images(torch.nan_to_num(made.float()).clamp(0, 1))], dim=1)
        return np.asarray(found.cpu().numpy(), np.float64)

    def count(self, measures: Floats, target: NDArray[np.generic], patients: NDArray[np.int64]) -> list[int]:
        """Moments of the real images of every other patient, of those of the others, and of the new images."""
        del target
        real, made = measures[:, : self.moments.features], measures[:, self.moments.features :]
        first = np.unique(patients, return_inverse=True)[1] % 2 == 0
        return [count for part in (real[first], real[~first], made) for count in self.moments.count(part)]

    def judge(self, values: Sequence[int], chosen_on: Sequence[int] | None = None) -> Judged:
        """Distances and how much the new images vary."""
        del chosen_on
        first, second, made = np.split(np.asarray(values, dtype=object), 3)
        if min(values) < 0 or first[0] + second[0] != made[0]:
            raise unlikely("as many new images as real ones", f"{made[0]} and {first[0] + second[0]}")
        real, halves = first + second, [self.moments.read(half.tolist()) for half in (first, second)]
        clouds = self.moments.read(real.tolist()), self.moments.read(made.tolist())
        return Judged(
            kind="synthesis",
            images=int(made[0]),
            figures=(
                _distance("frechet_distance", "Fréchet distance of wavelet features", *clouds),
                _distance("real_distance", "The same between halves of the real images", *halves),
                _spread(*clouds),
            ),
        )

    def _label(self, target: Tensor) -> Tensor:
        """[n] → [n, labels] of 0 and 1."""
        import torch  # noqa: PLC0415

        return (target[:, None] == torch.arange(self.labels, device=target.device)).float()


def features(channels: int, scales: int) -> int:
    """How many the wavelets give, as they count them themselves."""
    return 5 * channels * scales * 6 + 6 * channels


def _distance(name: str, shown: str, one: Cloud | None, two: Cloud | None) -> Figure:
    value = frechet(one, two) if one is not None and two is not None else None
    return Figure(name, value, shown, better="lower")


def _spread(real: Cloud | None, made: Cloud | None) -> Figure:
    value = known(spread_ratio(real, made)) if real is not None and made is not None else None
    return Figure("spread", value, "How much new images vary, as a multiple of real ones")
