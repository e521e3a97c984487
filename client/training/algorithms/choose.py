"""What the study's algorithm asks of a hospital."""

from client.training.algorithms.base import Local, Plain
from client.training.algorithms.feddyn import Dynamic
from client.training.algorithms.fednova import Normalised
from client.training.algorithms.proximal import Proximal
from client.training.algorithms.scaffold import Controlled
from shared.algorithms import options as having
from shared.algorithms.registry import options_for
from shared.study import Study


def local_of(study: Study) -> Local:
    """The algorithm of `study` at a hospital. Raises InputError for what it cannot do."""
    name, options = study.federation.strategy, options_for(study)
    if isinstance(options, having.Proximal):
        return Proximal(options.mu)
    if isinstance(options, having.Regularised):
        return Dynamic(options.alpha)
    if isinstance(options, having.Rate):
        return Controlled() if name == "scaffold" else Normalised()
    return Plain()
