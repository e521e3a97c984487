"""What networks with one value for each pixel share: any size of image goes in, maps of the same size come out.

`fitted` makes a network of another library fit for private training, as the registry promises: normalisation by groups
of channels, nothing in place, no counters among the weights.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shared.models.layers import Scale, group_norm

#: Layers that normalise over a batch, or over one channel of an image.
REPLACED = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
IN_PLACE = (nn.ReLU, nn.LeakyReLU, nn.SiLU)


class Maps(nn.Module):
    """[n, channels, (D,) H, W] in [0, 1] → logits [n, outputs, (D,) H, W] of `net`, which takes sides that are
    multiples of `multiple` only: images are filled up with the middle grey at their far ends, and maps are cropped."""

    def __init__(self, net: nn.Module, *, multiple: int, scale: tuple[float, float]) -> None:
        super().__init__()
        self.scale, self.net, self.multiple = Scale(*scale), net, multiple

    def forward(self, images: Tensor) -> Tensor:
        """Maps of the images' own size."""
        sides = images.shape[2:]
        missing = [-side % self.multiple for side in sides]
        images = self.scale(images)
        if any(missing):
            images = F.pad(images, [each for side in reversed(missing) for each in (0, side)])
        maps: Tensor = self.net(images)
        for dim, side in enumerate(sides, 2):
            maps = maps.narrow(dim, 0, side)
        return maps


def fitted(net: nn.Module, groups: int) -> nn.Module:
    """`net` itself: GroupNorm of at most `groups` groups in the place of other normalisation, nothing in place, and
    tables of whole numbers no longer among the weights that travel."""
    for parent in list(net.modules()):
        for name, part in list(parent.named_children()):
            if isinstance(part, REPLACED):
                setattr(parent, name, group_norm(part.num_features, groups))
            elif isinstance(part, IN_PLACE):
                part.inplace = False
        for name, table in list(parent.named_buffers(recurse=False)):
            if table.dtype != torch.float32:
                parent.register_buffer(name, table, persistent=False)
    return net
