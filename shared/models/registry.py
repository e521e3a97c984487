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

import difflib
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Literal, Protocol, TypeVar, get_args, get_origin

import msgspec
import torch
from torch import nn

from shared.errors import InputError, MisuseError

__all__ = ["MODELS", "Chosen", "build"]

#: Name in a study → module of this package, whose `Options` and `create` build it. Imported on first use: MONAI
#: alone takes seconds.
MODELS: Mapping[str, str] = {
    "cnn": "shared.models.cnn",
    "densenet121": "shared.models.densenet",
    "scattering": "shared.models.scattering",
}

_UNKNOWN = re.compile(r"unknown field `(?P<key>[^`]*)`")
_WRONG = re.compile(r"^(?:Expected )?(?P<expected>.*?)(?:, got .*?)? - at `\$\.(?P<key>[^`]*)`$", re.DOTALL)

OptionsT = TypeVar("OptionsT", bound=msgspec.Struct)


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
    if channels < 1 or classes < 2 or min(size) < 8:
        given = f"{channels}, {classes}, {size}"
        raise MisuseError("build", expected="channels ≥ 1, classes ≥ 2, sides ≥ 8", got=given)
    if model.name not in MODELS:
        near = difflib.get_close_matches(model.name, MODELS, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else "Name a registered model."
        raise InputError("model.name", expected=f"one of {', '.join(MODELS)}", got=f"'{model.name}'", do=hint)
    module = import_module(MODELS[model.name])
    options = _options(module.Options, model)
    create: Callable[..., nn.Module] = module.create
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return create(options, channels=channels, classes=classes, size=size, scale=model.scale)


def _options(cls: type[OptionsT], model: Chosen) -> OptionsT:
    try:
        return msgspec.convert(dict(model.options), cls)
    except msgspec.ValidationError as error:
        raise _explain(str(error), cls, model) from None


def _explain(message: str, cls: type[msgspec.Struct], model: Chosen) -> InputError:
    known = [field.name for field in msgspec.structs.fields(cls)]
    if unknown := _UNKNOWN.search(message):
        near = difflib.get_close_matches(unknown["key"], known, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"Options of {model.name}: {', '.join(known)}."
        return InputError(
            f"model.options.{unknown['key']}", expected=f"an option of {model.name}", got="an unknown one", do=hint
        )
    wrong = _WRONG.match(message)
    key, expected = (wrong["key"], wrong["expected"]) if wrong else ("", message)
    if key in known and (choices := _choices(cls, key)):
        expected = f"one of {choices}"
    where = f"model.options.{key}" if key else "model.options"
    return InputError(where, expected=expected, got=repr(model.options.get(key)), do=f"Correct {where}.")


def _choices(cls: type[msgspec.Struct], key: str) -> str:
    kind = next(field.type for field in msgspec.structs.fields(cls) if field.name == key)
    return ", ".join(map(str, get_args(kind))) if get_origin(kind) is Literal else ""
