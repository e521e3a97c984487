"""VoxelMorph (Balakrishnan et al. 2019, arXiv 1809.05231) as MONAI builds it: two images in, a displacement field out.

The network gives a velocity, which is integrated to a displacement that all but never folds (Dalca et al. 2019, arXiv
1903.03545); `integration` = 0 takes it for the displacement itself. No normalisation, as in the original; no ReLU works
in place, so per-sample gradients are right.
"""

from typing import Annotated

import msgspec
from monai.networks.nets.voxelmorph import VoxelMorphUNet
from msgspec import Meta
from torch import Tensor, nn

from shared.errors import InputError
from shared.models.layers import Scale
from shared.models.warp import integrated

_ACTIVATION = ("leakyrelu", {"negative_slope": 0.2, "inplace": False})
#: Deviation of the last weights, in pixels: it begins with hardly a displacement (the original's 1e-5 learns slowly
#: where few steps are made).
SMALL = 1e-3


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`width` channels; images are halved `levels` times; 2^`integration` steps along the velocity."""

    width: Annotated[int, Meta(ge=2, le=256)] = 16
    levels: Annotated[int, Meta(ge=1, le=5)] = 3
    integration: Annotated[int, Meta(ge=0, le=10)] = 5


class VoxelMorph(nn.Module):
    """[n, 2C, (D,) H, W], moving and fixed, in [0, 1] → displacement in pixels, [n, sides, (D,) H, W]."""

    def __init__(self, options: Options, *, channels: int, sides: int, scale: tuple[float, float]) -> None:
        super().__init__()
        self.scale, self.integration = Scale(*scale), options.integration
        self.net = VoxelMorphUNet(
            spatial_dims=sides,
            in_channels=channels,
            unet_out_channels=options.width,
            channels=(options.width,) * (2 * options.levels),
            final_conv_channels=(options.width,),
            final_conv_act=_ACTIVATION,
            act=_ACTIVATION,
        )
        *_, last = (layer for layer in self.net.modules() if isinstance(layer, nn.Conv2d | nn.Conv3d))
        nn.init.normal_(last.weight, std=SMALL)
        if last.bias is not None:
            nn.init.zeros_(last.bias)

    def forward(self, pairs: Tensor) -> Tensor:
        """[n, 2C, …] → [n, sides, …]."""
        velocity: Tensor = self.net(self.scale(pairs))
        return integrated(velocity.float(), self.integration)  # places in pixels need more than bfloat16's 8 bits


def create(
    options: Options, *, channels: int, classes: int, size: tuple[int, ...], scale: tuple[float, float]
) -> nn.Module:
    """The net of `options`; weights from the current random state. Raises InputError for another task than
    registration, and for sides that cannot be halved as often."""
    if channels % 2 or classes != len(size):
        expected = 'task.kind "registration" with voxelmorph: two images in, a displacement out'
        raise InputError("model.name", expected=expected, got=f"{channels} channels in, {classes} out")
    if any(side % 2**options.levels for side in size):
        raise InputError(
            "input.size",
            expected=f"multiples of {2**options.levels}",
            got=" × ".join(map(str, size)),
            do="Or take fewer levels.",
        )
    return VoxelMorph(options, channels=channels, sides=len(size), scale=scale)
