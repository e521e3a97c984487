"""The closed registry of kinds of tasks: a study names one, and nothing that a study says is ever imported or called.

>>> from shared.study import MINIMAL, parse_study
>>> kind_of(parse_study(MINIMAL)).outputs
2
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import import_module

from shared.errors import InputError
from shared.options import chosen, options_of
from shared.study import Study
from shared.tasks.base import Kind
from shared.wire import pack, unpack

__all__ = ["KINDS", "kind_of"]

#: Kind in a study → module of this package, whose `Options` and `create` make it.
KINDS: Mapping[str, str] = {
    "classification": "shared.tasks.classification",
    "regression": "shared.tasks.regression",
    "multilabel": "shared.tasks.multilabel",
    "detection": "shared.tasks.detection",
    "enhancement": "shared.tasks.enhancement",
    "registration": "shared.tasks.registration",
    "segmentation": "shared.tasks.segmentation",
    "synthesis": "shared.tasks.synthesis",
}


def kind_of(study: Study) -> Kind:
    """The kind of task of `study`. Raises InputError for one that is not registered, for its options, and for a study
    that it cannot do."""
    return _kinds(pack(study))


@lru_cache(maxsize=8)
def _kinds(packed: bytes) -> Kind:
    study = unpack(Study, packed)
    chosen(study.task.kind, KINDS, "task.kind")
    module = import_module(KINDS[study.task.kind])
    options = options_of(module.Options, study.task.options, where="task.options", owner=study.task.kind)
    create: Callable[..., Kind] = module.create
    kind = create(options, study)
    if study.evaluation.epsilon is not None and not kind.noisy:
        raise InputError(
            "evaluation.epsilon",
            expected=f'classification into two classes, not "{study.task.kind}"',
            got=f"{study.evaluation.epsilon:g}",
            do="Leave evaluation.epsilon and evaluation.delta out.",
        )
    return kind
