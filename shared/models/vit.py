"""Vision transformer (Dosovitskiy et al. 2020, arXiv 2010.11929) as MONAI builds it: patches, attention, a class token.

It normalises each patch by itself (LayerNorm) and drops nothing, so private training may use it. With
`model.adapter_rank` its dense layers get low-rank adapters (shared/models/adapters.py).
"""

from typing import Annotated

import msgspec
from monai.networks.nets.vit import ViT
from msgspec import Meta
from torch import Tensor, nn

from shared.errors import InputError
from shared.models.backbone import Backbone
from shared.models.layers import Scale


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`patch` pixels to a side; `width` of a token, a multiple of `heads`; `depth` blocks, each with a dense layer of
    `hidden` units, 0 for 4 × `width`. Published: 16, 192, 3, 12 ("tiny"); 16, 384, 6, 12 ("small")."""

    patch: Annotated[int, Meta(ge=2, le=64)] = 16
    width: Annotated[int, Meta(ge=8, le=1024)] = 192
    heads: Annotated[int, Meta(ge=1, le=16)] = 3
    depth: Annotated[int, Meta(ge=1, le=24)] = 4
    hidden: Annotated[int, Meta(ge=0, le=4096)] = 0


class Transformer(Backbone):
    """[n, channels, H, W] or, of volumes, [n, channels, D, H, W] in [0, 1] → logits [n, classes]."""

    def __init__(
        self, options: Options, *, channels: int, classes: int, size: tuple[int, ...], scale: tuple[float, float]
    ) -> None:
        super().__init__()
        self.scale = Scale(*scale)
        self.net = ViT(
            in_channels=channels,
            img_size=size,
            patch_size=options.patch,
            hidden_size=options.width,
            mlp_dim=options.hidden or 4 * options.width,
            num_layers=options.depth,
            num_heads=options.heads,
            spatial_dims=len(size),
            classification=True,
            num_classes=classes,
            post_activation="none",
            qkv_bias=True,
        )
        self.net.set_submodule("classification_head", nn.Identity())
        self.head = nn.Linear(options.width, classes)

    def body(self, images: Tensor) -> Tensor:
        """The class token after the last block, [n, channels, (D,) H, W] → [n, width]."""
        token: Tensor = self.net(self.scale(images))[0]
        return token


def create(
    options: Options, *, channels: int, classes: int, size: tuple[int, ...], scale: tuple[float, float]
) -> nn.Module:
    """The net of `options`; weights from the current random state. Raises InputError for sides that are no multiple of
    the patch, and widths that are none of the heads."""
    if any(side % options.patch for side in size):
        given = " × ".join(map(str, size))
        raise InputError("input.size", expected=f"multiples of model.options.patch = {options.patch}", got=given)
    if options.width % options.heads:
        expected = f"a multiple of the {options.heads} heads"
        raise InputError("model.options.width", expected=expected, got=str(options.width))
    return Transformer(options, channels=channels, classes=classes, size=size, scale=scale)
