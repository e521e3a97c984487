"""The algorithm that a study asks for."""

from server.strategies import fedavg, feddyn, fedexp, fednova, fedopt, scaffold
from server.strategies.base import Strategy
from server.strategies.dpsgd import DpSgd
from server.strategies.masked import Masked
from shared.algorithms import options as having
from shared.algorithms.registry import algorithm_of, options_for
from shared.errors import MisuseError
from shared.layout import Layout
from shared.study import Study


def strategy_of(study: Study, layout: Layout) -> Strategy:
    """The algorithm of `study`: with privacy of mode "distributed" the coordinator steps, else hospitals do. Raises
    InputError for what the algorithm cannot do."""
    if study.privacy.mode == "distributed":
        algorithm_of(study)
        return DpSgd(study, layout)
    if algorithm_of(study).open:
        from server.strategies.robust import Robust, mean_of  # noqa: PLC0415  Flower's strategies: no masked run needs them

        return Robust(study, layout, mean_of(options_for(study)))
    return _masked(study, layout)


def _masked(study: Study, layout: Layout) -> Masked:
    name, options = study.federation.strategy, options_for(study)
    match options:
        case having.Adaptive() | having.Adding():
            return Masked(study, layout, fedopt.rule_of(name, options), fedopt.SLOTS)
        case having.Regularised():
            return Masked(study, layout, feddyn.rule_of(options), feddyn.SLOTS)
        case having.Extrapolating():
            return Masked(study, layout, fedexp.rule_of(options))
        case having.Averaging():
            return Masked(study, layout, fedavg.rule_of(options), fedavg.slots_of(options))
        case having.Rate() if name == "scaffold":
            return Masked(study, layout, scaffold.rule_of(options, study.training), scaffold.SLOTS)
        case having.Rate():
            return Masked(study, layout, fednova.rule_of(options))
        case _:
            raise MisuseError("strategy", expected="an algorithm with a rule", got=name)
