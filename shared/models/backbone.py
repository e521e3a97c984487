"""A network in two parts: a `body` that makes features of an image, and a `head` that makes logits of features.

Where nothing of the body is trained, its features are the same in every step, and need to be computed once only
(client/training/features.py). So all classifiers of this package are built this way; `head` is what a study means by
`model.trained = ["head"]`.
"""

from torch import Tensor, nn


class Backbone(nn.Module):
    """Subclasses set `head`, and say in `body` what images become before it."""

    head: nn.Module

    def body(self, images: Tensor) -> Tensor:
        """[n, C, (D,) H, W] in [0, 1] → features [n, F]."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """[n, C, (D,) H, W] → logits [n, classes]."""
        logits: Tensor = self.head(self.body(images))
        return logits

    @property
    def resting(self) -> bool:
        """Whether all that is trained lies in the head."""
        own = {id(parameter) for parameter in self.head.parameters()}
        return all(id(parameter) in own for parameter in self.parameters() if parameter.requires_grad)

    def fixed(self, images: Tensor) -> Tensor:
        """What no trained weight enters while the body rests, [n, C, (D,) H, W] → [n, F]."""
        return self.body(images)

    def learned(self, features: Tensor) -> Tensor:
        """What the head makes of it, [n, F] → [n, classes]."""
        logits: Tensor = self.head(features)
        return logits
