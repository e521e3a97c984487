"""The closed registry of models: a study names one, and nothing that a study says is ever imported or called.

Guarantees: the same name, options, shape and seed give the same weights on every machine, and building a model
leaves the caller's random state untouched. Every registered model takes float32 [n, channels, H, W] in [0, 1] (of
volumes [n, channels, D, H, W], or says that it cannot), returns logits float32 [n, classes], treats each image on
its own (no batch statistics, so private training may use it), and holds only floating-point parameters.

    >>> from shared.study import Model
    >>> net = build(Model(name="cnn"), channels=1, classes=2, size=(32, 32), seed=0)
    >>> net(torch.zeros(5, 1, 32, 32)).shape
    torch.Size([5, 2])
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Protocol

import torch
from torch import nn

from shared.errors import MisuseError
from shared.options import chosen, options_of

__all__ = ["MODELS", "Chosen", "build"]

#: Name in a study → module of this package, whose `Options` and `create` build it. Imported on first use: MONAI
#: alone takes seconds.
MODELS: Mapping[str, str] = {
    "autoencoder": "shared.models.autoencoder",
    "cnn": "shared.models.cnn",
    "densenet121": "shared.models.densenet",
    "densenet169": "shared.models.densenet169",
    "diffusion": "shared.models.diffusion",
    "dynunet": "shared.models.dynunet",
    "efficientnet": "shared.models.efficientnet",
    "gan": "shared.models.gan",
    "mlp": "shared.models.mlp",
    "recurrent": "shared.models.recurrent",
    "resnet": "shared.models.resnet",
    "restorer": "shared.models.restorer",
    "retinanet": "shared.models.retinanet",
    "scattering": "shared.models.scattering",
    "segresnet": "shared.models.segresnet",
    "swinunetr": "shared.models.swinunetr",
    "unet": "shared.models.unet",
    "unetr": "shared.models.unetr",
    "vit": "shared.models.vit",
    "voxelmorph": "shared.models.voxelmorph",
}


class Chosen(Protocol):
    """What a study's `model` section says: satisfied by `shared.study.Model`."""

    @property
    def name(self) -> str:
        """A key of `MODELS`."""

    @property
    def options(self) -> Mapping[str, int | float | str]:
        """Overrides of the model's `Options`."""

    @property
    def scale(self) -> tuple[float, float]:
        """Subtracted from every value of an image, and divided by, before the first layer."""


def build(model: Chosen, *, channels: int, classes: int, size: tuple[int, ...], seed: int) -> nn.Module:
    """The model that `model` names, in training mode, on the CPU, with weights drawn from `seed`.

    `size` is (rows, columns) in pixels, or (slices, rows, columns). Raises InputError for a name or an option that is
    not registered or out of range.
    """
    if channels < 1 or classes < 1 or min(size) < 8:
        given = f"{channels}, {classes}, {size}"
        raise MisuseError("build", expected="channels ≥ 1, classes ≥ 1, sides ≥ 8", got=given)
    chosen(model.name, MODELS, "model.name")
    module = import_module(MODELS[model.name])
    options = options_of(module.Options, model.options, where="model.options", owner=model.name)
    create: Callable[..., nn.Module] = module.create
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return create(options, channels=channels, classes=classes, size=size, scale=model.scale)
