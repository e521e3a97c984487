"""Which weights are a hospital's own, and a model with them in place.

federation.personal names parts of the network (FedBN: Li et al. 2021, arXiv 2102.07623, its normalisation; FedPer:
Arivazhagan et al. 2019, arXiv 1912.00818, its head) or "all" (Ditto: Li et al. 2021, arXiv 2012.04221). They are kept
here between rounds, trained on from here, and tested here; their mean over hospitals is the published model's.
"""

from math import prod

import numpy as np
from numpy.typing import NDArray
from torch import nn

from client.training.algorithms.base import Kept, Vector
from shared.network import personal_of
from shared.parameters import layout_of, load_part
from shared.study import Study

#: What own weights are kept as.
PERSONAL = "personal"


def own_places(study: Study, module: nn.Module) -> NDArray[np.bool_]:
    """Which of the weights that move are a hospital's own, bool [d]."""
    layout, own = layout_of(module), personal_of(module, study)
    moving = [(name, prod(shape)) for name, shape in zip(layout.names, layout.shapes, strict=True)]
    return np.concatenate([np.full(size, name in own) for name, size in moving if name not in layout.frozen])


def with_own(weights: Vector, places: NDArray[np.bool_], kept: Kept) -> Vector:
    """`weights` [d] with the kept ones in their `places`; as they are where nothing was kept."""
    if PERSONAL not in kept:
        return weights
    found = weights.copy()
    found[places] = kept[PERSONAL]
    return found


def make_personal(study: Study, module: nn.Module, weights: Vector, kept: Kept) -> None:
    """Put into `module`, whose weights that move are `weights` [d], this hospital's own in their places."""
    load_part(module, with_own(weights, own_places(study, module), kept))
