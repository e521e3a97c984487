"""The network a study asks for, with its public initial weights: the same at the coordinator and at every hospital.

Which weights move is the study's to say: all, all but `model.frozen`, or `model.trained` and adapters alone.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from shared.algorithms.registry import algorithm_of
from shared.errors import InputError
from shared.models.adapters import adapt
from shared.models.registry import build
from shared.parameters import Layout, Vector, layout_of, to_vector
from shared.study import Study
from shared.study.model import Model
from shared.tasks.registry import kind_of

#: Layers whose weights are "norm".
NORMS = (nn.GroupNorm, nn.LayerNorm, nn.InstanceNorm2d, nn.InstanceNorm3d)
#: Added to the study's seed for its adapters: the network's own weights are the same with and without them.
ADAPTERS = 1
#: What a study may name in the place of beginnings of names.
KINDS = ("head", "bias", "norm")


def network_of(study: Study) -> nn.Module:
    """The study's network, the weights that stay without a gradient. Raises InputError for a model or option that is
    not registered, for names that no weight has or that leave none to train, or for an algorithm that cannot do it."""
    kind, model = kind_of(study), study.model
    algorithm_of(study)
    network = build(
        model,
        channels=kind.channels,
        classes=kind.outputs,
        size=study.input.size,
        seed=study.training.seed,
    )
    stays = _named(network, model.frozen, "model.frozen")
    if model.trained or model.adapter_rank:
        stays = {name for name, _ in network.named_parameters()} - _trained(network, model)
    parameters = dict(network.named_parameters())
    for name in stays:
        parameters[name].requires_grad_(False)
    if model.adapter_rank:
        _adapt(network, model.adapter_rank, study.training.seed)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise InputError("model.frozen", expected="weights left to train", got="all of them frozen")
    personal_of(network, study)
    _check_observing(network, study)
    return network


def _check_observing(network: nn.Module, study: Study) -> None:
    """Figures of all hospitals' images in a model are exact, are taken of images that stay as they are, and are right
    where a round is a plain mean."""
    if not getattr(network, "observes", False):
        return
    federation, training = study.federation, study.training
    plain = federation.strategy == "fedavg" and not federation.options and not federation.personal
    if study.privacy.mode != "off" or training.augmentation or not plain:
        raise InputError(
            "model.options.standardise",
            expected='0, or privacy.mode "off", no augmentation, and federation.strategy "fedavg" without options',
            got="1",
            do="Leave it out, or change those.",
        )


def _trained(network: nn.Module, model: Model) -> set[str]:
    """The names of the network's own weights that move where the study says which."""
    return _chosen(network, model.trained or ("head",), "model.trained")


def _chosen(network: nn.Module, prefixes: tuple[str, ...], where: str) -> set[str]:
    """The names of weights that are of one of KINDS among `prefixes`, or begin with one of the others."""
    found = set[str]()
    if "head" in prefixes:
        head = {id(parameter) for parameter in _head(network).parameters()}
        found |= {name for name, parameter in network.named_parameters() if id(parameter) in head}
    if "bias" in prefixes:
        found |= {name for name, _ in network.named_parameters() if name.rpartition(".")[2] == "bias"}
    if "norm" in prefixes:
        of_norms = {id(p) for layer in network.modules() if isinstance(layer, NORMS) for p in layer.parameters()}
        found |= {name for name, parameter in network.named_parameters() if id(parameter) in of_norms}
    return found | _named(network, [prefix for prefix in prefixes if prefix not in KINDS], where)


def personal_of(network: nn.Module, study: Study) -> frozenset[str]:
    """The names of the weights that move and are each hospital's own (federation.personal). Raises InputError where
    there are none, or none that are everybody's."""
    personal = study.federation.personal
    moving = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    if personal == ("all",):
        return frozenset(moving)
    found = moving & _chosen(network, personal, "federation.personal")
    if personal and not found:
        raise InputError("federation.personal", expected="names of weights that move", got=", ".join(personal))
    if found == moving:
        raise InputError(
            "federation.personal", expected='some weights that are everybody\'s, or "all"', got=", ".join(personal)
        )
    return frozenset(found)


def _head(network: nn.Module) -> nn.Module:
    """What the network calls its head, or else its last layer with weights."""
    head = getattr(network, "head", None)
    if isinstance(head, nn.Module):
        return head
    return [layer for layer in network.modules() if any(True for _ in layer.parameters(recurse=False))][-1]


def _named(network: nn.Module, prefixes: Iterable[str], where: str) -> set[str]:
    """The names that begin with one of `prefixes`, as whole words. Raises InputError for one that none begins with."""
    names, found = [name for name, _ in network.named_parameters()], set[str]()
    for prefix in prefixes:
        mine = {name for name in names if name == prefix or name.startswith(f"{prefix}.")}
        if not mine:
            known = ", ".join(sorted({name.rpartition(".")[0] or name for name in names}))
            raise InputError(where, expected=f"beginnings of names among {known}", got=prefix)
        found |= mine
    return found


def _adapt(network: nn.Module, rank: int, seed: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + ADAPTERS)
        if not adapt(network, rank, but=_head(network)):
            raise InputError(
                "model.adapter_rank",
                expected="layers that an adapter is smaller than",
                got=f"none for rank {rank}",
                do="Lower it, or leave it out.",
            )


def initial(study: Study) -> tuple[Layout, Vector]:
    """The layout of the study's weights, and the weights it begins with."""
    network = network_of(study)
    return layout_of(network), to_vector(network).astype(np.float32)
