"""The gradient of a convolution's filters, for each patient apart, from its inputs and its outputs' gradients.

The same numbers as one backward pass per patient up to rounding, by whichever of four ways is quickest at a shape.
Places t are positions of the filter; patches i = in · (kD ·) kH · kW are what it sees there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from client.training.gradients.clip import Products, bounded

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d

#: At most so many places: unfolding costs less than a call per patient.
FEW_PLACES = 32


@dataclass(frozen=True)
class Geometry:
    """How the filters lie on the image; one number per side."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    @classmethod
    def of(cls, layer: Convolution) -> "Geometry":
        """Of a layer that `known` says yes to."""
        padding = tuple(int(side) for side in layer.padding)
        return cls(layer.kernel_size, layer.stride, padding, layer.dilation, layer.groups)

    @property
    def pointwise(self) -> bool:
        """Whether the filter sees one place at a time, each once."""
        return {*self.kernel, *self.stride} == {1} and not any(self.padding)

    def forward(self, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """[n, in, …] → [n, out, …]."""
        sides = len(self.kernel)
        return torch.convolution(
            images, weight, bias, self.stride, self.padding, self.dilation, False, [0] * sides, self.groups
        )

    def input_gradient(self, gradient: Tensor, images: Tensor, weight: Tensor) -> Tensor:
        """[n, in, …]."""
        return self._backward(gradient, images, weight, self.groups, (True, False, False))[0]

    def weight_gradients(self, gradient: Tensor, images: Tensor, weight: Tensor, patients: int) -> Tensor:
        """[p, *weight.shape] from the outputs' gradient [p m, out, …] and images [p m, in, …]."""
        each = len(images) // patients
        few = len(self.kernel) == 2 and gradient[0, 0].numel() <= FEW_PLACES
        if self.groups == 1 and (self.pointwise or few):
            return self._by_patches(gradient, images, patients).reshape(patients, *weight.shape)
        if each == 1:  # one image with the patients' channels side by side: a single call
            many = weight.new_empty(patients * len(weight), *weight.shape[1:])  # only its shape is read
            one = gradient.flatten(0, 1)[None], images.flatten(0, 1)[None]
            made = self._backward(*one, many, patients * self.groups, (False, True, False))[1]
            return made.reshape(patients, *weight.shape)
        pairs = zip(torch.split(gradient, each), torch.split(images, each), strict=True)
        mask = (False, True, False)
        return torch.stack([self._backward(*pair, weight, self.groups, mask)[1] for pair in pairs])

    def bias_gradients(self, gradient: Tensor, patients: int) -> Tensor:
        """[p, out]."""
        return gradient.flatten(2).sum(dim=2).reshape(patients, -1, gradient.shape[1]).sum(dim=1)

    def products(self, gradient: Tensor, images: Tensor, patients: int) -> Products | None:
        """The weights' gradients as products; None with groups."""
        if self.groups > 1:
            return None

        def factors() -> tuple[Tensor, Tensor]:
            return self._seen(images, patients), _wide(gradient.movedim(1, -1), patients, gradient.dim() - 1)

        wanted = _channels(gradient, patients)
        measured = bounded(self._gram(images, gradient.shape[2:], patients), torch.bmm(wanted.mT, wanted))
        return Products(measured, factors, kernel=math.prod(self.kernel))

    def _seen(self, images: Tensor, patients: int) -> Tensor:
        """Patches [p, t, i], float64, the filter's places outside, channels inside: so whole channels are copied, not
        three numbers at a time."""
        seen = F.pad(images, self._margins()).movedim(1, -1)
        seen = seen if self.pointwise else seen.contiguous()
        for axis, (size, step, apart) in enumerate(zip(self.kernel, self.stride, self.dilation, strict=True)):
            seen = seen.unfold(1 + axis, apart * (size - 1) + 1, step)[..., ::apart]
        sides = len(self.kernel)
        return _wide(seen.movedim(1 + sides, -1), patients, 1 + sides)  # [n, places …, kernel …, in]

    def _gram(self, images: Tensor, places: Sequence[int], patients: int) -> Tensor:
        """⟨patch, patch⟩ for every two places, [p, t, t], float64, without a patch being made: a sum over the filter of
        ⟨pixel, pixel⟩, which neighbours share."""
        wide = _channels(images, patients)
        each, sides, margins = len(images) // patients, images.shape[2:], self._margins()
        pixels = torch.bmm(wide.mT, wide).reshape(patients, each, *sides, each, *sides)
        pixels = F.pad(pixels, [*margins, 0, 0, *margins]) if any(margins) else pixels
        found = pixels.new_zeros(patients, each, *places, each, *places)
        for offset in product(*map(range, self.kernel)):
            steps = zip(offset, self.dilation, self.stride, places, strict=True)
            seen = [slice(at * apart, at * apart + step * (count - 1) + 1, step) for at, apart, step, count in steps]
            found += pixels[:, :, *seen, :, *seen]
        return found.reshape(patients, each * math.prod(places), -1)

    def _margins(self) -> list[int]:
        return [side for pad in reversed(self.padding) for side in (pad, pad)]

    def _by_patches(self, gradient: Tensor, images: Tensor, patients: int) -> Tensor:
        seen = torch.unflatten(self.patches(images), 0, (patients, -1))  # [p, m, i, t]
        wanted = torch.unflatten(gradient.flatten(2), 0, (patients, -1))  # [p, m, out, t]
        made = torch.bmm(wanted[:, 0], seen[:, 0].mT)
        for image in range(1, seen.shape[1]):
            made.baddbmm_(wanted[:, image], seen[:, image].mT)
        return made

    def _backward(
        self, gradient: Tensor, images: Tensor, weight: Tensor, groups: int, mask: tuple[bool, bool, bool]
    ) -> tuple[Tensor, Tensor, Tensor]:
        made: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
            gradient, images, weight, None, self.stride, self.padding, self.dilation, False, [0] * len(self.kernel),
            groups, mask,
        )  # fmt: skip
        return made

    def patches(self, images: Tensor) -> Tensor:
        """[n, in, …] → what the filter sees, [n, i, t]; without groups only."""
        if self.pointwise:
            return images.flatten(2)
        return F.unfold(images, self.kernel, self.dilation, self.padding, self.stride)


def _channels(values: Tensor, patients: int) -> Tensor:
    """A copy of [p m, channels, …] as [p, channels, m …], float64."""
    return torch.unflatten(values, 0, (patients, -1)).transpose(1, 2).to(torch.float64, copy=True).flatten(2)


def _wide(values: Tensor, patients: int, places: int) -> Tensor:
    """A copy of [n, `places` dimensions less one …, …] as [p, t, k], float64."""
    copy = torch.empty(values.shape, dtype=torch.float64, device=values.device).copy_(values)
    return copy.flatten(places).reshape(patients, -1, values.shape[places:].numel())


def known(layer: Convolution) -> bool:
    """Whether `Geometry` says all about it."""
    return not isinstance(layer.padding, str) and layer.padding_mode == "zeros"
