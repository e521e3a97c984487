"""What the network and the loss are given of an image in one step: augmented, then made an example of its kind of task.

images, target = given_of(study)(pixels, known, generator)
"""

from dataclasses import dataclass

from torch import Generator, Tensor

from client.training.augment import Augmentation
from shared.study import Study
from shared.tasks.base import Kind
from shared.tasks.registry import kind_of


@dataclass(frozen=True)
class Given:
    """For one study."""

    augmentation: Augmentation
    kind: Kind

    def __call__(self, images: Tensor, target: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Images [n, C, …] in [0, 1] and targets [n, …] → what goes in [n, channels, …], and what the loss compares
        with. All that is random comes from `generator`, which lives on the CPU."""
        return self.kind.example(*self.augmentation(images, target, generator), generator)


def given_of(study: Study) -> Given:
    """Of the training images of `study`."""
    kind = kind_of(study)
    return Given(Augmentation.of(study, kind.target), kind)
