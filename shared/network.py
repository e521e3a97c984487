"""The network a study asks for, with its public initial weights: the same at the coordinator and at every hospital."""

from torch import nn

from shared.models.registry import build
from shared.study import Study


def network_of(study: Study) -> nn.Module:
    """The study's network. Raises InputError for a model or option that is not registered."""
    return build(
        study.model,
        channels=3 if study.input.color else 1,
        classes=len(study.task.labels),
        size=study.input.size,
        seed=study.training.seed,
    )
