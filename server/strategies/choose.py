"""The algorithm that a study asks for."""

from server.strategies.base import Strategy
from server.strategies.dpsgd import DpSgd
from server.strategies.fedavg import FedAvg
from shared.layout import Layout
from shared.study import Study


def strategy_of(study: Study, layout: Layout) -> Strategy:
    """The algorithm of `study`: with privacy of mode "distributed" the coordinator steps, else hospitals do."""
    return (DpSgd if study.privacy.mode == "distributed" else FedAvg)(study, layout)
