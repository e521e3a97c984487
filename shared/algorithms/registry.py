"""The closed registry of algorithms: a study names one, and nothing that a study says is ever imported or called.

No torch, no numpy: both ends ask here how many vectors travel. `algorithm_of` gives an algorithm for a study only if it
can do that study; server/strategies says how the model moves, client/training/algorithms what a hospital does.

    >>> from shared.study import MINIMAL, parse_study
    >>> algorithm_of(parse_study(MINIMAL)).up
    1
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from shared.algorithms import options as having
from shared.algorithms.checks import check
from shared.options import chosen, options_of
from shared.study import Study
from shared.wire import pack, unpack

__all__ = ["ALGORITHMS", "Algorithm", "algorithm_of", "keeps", "options_for"]


@dataclass(frozen=True)
class Algorithm:
    """`options`: the struct of its options. Vectors as long as what moves of the model: `up` in the masked sum, the
    update first; `beside` the weights on their way down. `open`: it must see each hospital's update.
    `plain_steps`: a hospital's steps must be SGD without momentum. `keeps`: a hospital keeps something between rounds.
    """

    options: type[having.Common]
    up: int = 1
    beside: int = 0
    open: bool = False
    plain_steps: bool = False
    keeps: bool = False


#: Name in a study → what it is.
ALGORITHMS: Mapping[str, Algorithm] = {
    "fedavg": Algorithm(having.Averaging),
    "fedprox": Algorithm(having.Proximal),
    "fedadam": Algorithm(having.Adaptive),
    "fedyogi": Algorithm(having.Adaptive),
    "fedadagrad": Algorithm(having.Adding),
    "scaffold": Algorithm(having.Rate, up=2, beside=1, plain_steps=True, keeps=True),
    "feddyn": Algorithm(having.Regularised, keeps=True),
    "fedexp": Algorithm(having.Extrapolating),
    "fednova": Algorithm(having.Rate, plain_steps=True),
    "median": Algorithm(having.Common, open=True),
    "trimmed-mean": Algorithm(having.Trimming, open=True),
    "krum": Algorithm(having.Choosing, open=True),
    "multi-krum": Algorithm(having.ChoosingMany, open=True),
}


def algorithm_of(study: Study) -> Algorithm:
    """The algorithm of `study`. Raises InputError for one that is not registered, for its options, and for a study that
    it cannot do."""
    return _checked(pack(study))[0]


def options_for(study: Study) -> having.Common:
    """Its options. Raises InputError as `algorithm_of`."""
    return _checked(pack(study))[1]


def keeps(study: Study) -> bool:
    """Whether hospitals keep something between the rounds of `study`."""
    return algorithm_of(study).keeps or bool(study.federation.personal)


@lru_cache(maxsize=8)
def _checked(packed: bytes) -> tuple[Algorithm, having.Common]:
    study = unpack(Study, packed)
    federation = study.federation
    chosen(federation.strategy, ALGORITHMS, "federation.strategy")
    algorithm = ALGORITHMS[federation.strategy]
    options = options_of(algorithm.options, federation.options, where="federation.options", owner=federation.strategy)
    check(study, algorithm, options)
    return algorithm, options
