"""The network a study asks for, with its public initial weights: the same at the coordinator and at every hospital."""

import numpy as np
from torch import nn

from shared.models.registry import build
from shared.parameters import Layout, Vector, layout_of, to_vector
from shared.study import Study


def network_of(study: Study) -> nn.Module:
    """The study's network. Raises InputError for a model or option that is not registered."""
    return build(
        study.model,
        channels=study.input.channels,
        classes=len(study.task.labels),
        size=study.input.size,
        seed=study.training.seed,
    )


def initial(study: Study) -> tuple[Layout, Vector]:
    """The layout of the study's weights, and the weights it begins with."""
    network = network_of(study)
    return layout_of(network), to_vector(network).astype(np.float32)
