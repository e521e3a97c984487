"""DenseNet169: deeper than 121, otherwise the same (densenet.py)."""

from functools import partial

from monai.networks.nets.densenet import DenseNet169

from shared.models.densenet import Options
from shared.models.densenet import create as _create

__all__ = ["Options", "create"]

create = partial(_create, net=DenseNet169)
