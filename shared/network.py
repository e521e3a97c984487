"""The network a study asks for, with its public initial weights: the same at the coordinator and at every hospital."""

import numpy as np
from torch import nn

from shared.errors import InputError
from shared.models.registry import build
from shared.parameters import Layout, Vector, layout_of, to_vector
from shared.study import Study
from shared.tasks.registry import kind_of


def network_of(study: Study) -> nn.Module:
    """The study's network, its `model.frozen` weights without a gradient. Raises InputError for a model or option that
    is not registered, or for frozen names that no weight has or that leave none to train."""
    kind = kind_of(study)
    network = build(
        study.model,
        channels=kind.channels,
        classes=kind.outputs,
        size=study.input.size,
        seed=study.training.seed,
    )
    _freeze(network, study.model.frozen)
    return network


def _freeze(network: nn.Module, prefixes: tuple[str, ...]) -> None:
    parameters = dict(network.named_parameters())
    for prefix in prefixes:
        found = [name for name in parameters if name == prefix or name.startswith(f"{prefix}.")]
        if not found:
            names = ", ".join(sorted({name.rpartition(".")[0] or name for name in parameters}))
            raise InputError("model.frozen", expected=f"beginnings of names among {names}", got=prefix)
        for name in found:
            parameters[name].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise InputError("model.frozen", expected="weights left to train", got="all of them frozen")


def initial(study: Study) -> tuple[Layout, Vector]:
    """The layout of the study's weights, and the weights it begins with."""
    network = network_of(study)
    return layout_of(network), to_vector(network).astype(np.float32)
