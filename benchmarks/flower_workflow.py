"""Flower's own workflow over an in-process grid that keeps what passed."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
from flower_attack import RAISED, Vector
from flower_round import Federation, configs_of
from flower_sites import Site
from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.common import ndarrays_to_parameters, parameters_to_ndarrays
from flwr.common.constant import ErrorCode
from flwr.common.secure_aggregation.secaggplus_constants import Key, Stage
from flwr.compat.common import recorddict_compat as compat
from flwr.server.client_manager import SimpleClientManager
from flwr.server.compat.grid_client_proxy import GridClientProxy
from flwr.server.compat.legacy_context import LegacyContext
from flwr.server.strategy import FedAvg
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD
from flwr.server.workflow.constant import Key as WorkflowKey
from flwr.serverapp.grid import Grid
from flwr.supercore.run import Run


@dataclass(frozen=True)
class Letter:
    """One question of the workflow and its answer; `error` where the site raised or was lost."""

    node: int
    stage: str
    reply: RecordDict
    error: str


class Wire(Grid):
    """Carries the workflow's messages to the sites and keeps what passed. A site in `lost` is silent from there on."""

    def __init__(
        self,
        sites: Mapping[int, Site],
        lost: Mapping[int, str] | None = None,
        tamper: Callable[[int, str, ConfigRecord], None] = lambda _node, _stage, _reply: None,
    ) -> None:
        self.sites, self.lost, self.tamper = sites, dict(lost or {}), tamper
        self.traffic: list[Letter] = []

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:  # noqa: ARG002
        return [self._carry(message) for message in messages]

    def _carry(self, message: Message) -> Message:
        node, content = message.metadata.dst_node_id, RecordDict()
        stage = cast(str, configs_of(message.content)[Key.STAGE])
        error = "lost" if self._is_lost(node, stage) else ""
        if not error:
            try:
                reply = self.sites[node].answer(message)
                content = reply.content
                self.tamper(node, stage, configs_of(content))
            except RAISED as raised_there:
                error = f"{type(raised_there).__name__}: {raised_there}"
        self.traffic.append(Letter(node, stage, content, error))
        if error:
            return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, error), reply_to=message)
        return reply

    def _is_lost(self, node: int, stage: str) -> bool:
        stages = Stage.all()
        return node in self.lost and stages.index(stage) >= stages.index(self.lost[node])

    def replies(self, stage: str) -> dict[int, RecordDict]:
        return {each.node: each.reply for each in self.traffic if each.stage == stage and not each.error}

    def errors(self, stage: str) -> dict[int, str]:
        return {each.node: each.error for each in self.traffic if each.stage == stage and each.error}

    def get_node_ids(self) -> Iterable[int]:
        return list(self.sites)

    def set_run(self, run: Run) -> None:
        raise NotImplementedError

    @property
    def run(self) -> Run:
        raise NotImplementedError

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        raise NotImplementedError

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        raise NotImplementedError

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        raise NotImplementedError


def workflow_round(federation: Federation, wire: Wire) -> Vector | None:
    """One round of SecAggPlusWorkflow with FedAvg: the new model, or None where the workflow halted."""
    manager, count = SimpleClientManager(), len(federation.nodes)
    for node in federation.nodes:
        manager.register(GridClientProxy(node, wire, 1))
    context = LegacyContext(
        Context(1, 0, {}, RecordDict(), {}),
        strategy=FedAvg(min_fit_clients=count, min_available_clients=count),
        client_manager=manager,
    )
    first = compat.parameters_to_arrayrecord(ndarrays_to_parameters([np.full(len(federation.model), np.nan)]), True)
    context.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({WorkflowKey.CURRENT_ROUND: 1})
    context.state.array_records[MAIN_PARAMS_RECORD] = first
    SecAggPlusWorkflow(count, federation.threshold)(wire, context)
    end = compat.arrayrecord_to_parameters(context.state.array_records[MAIN_PARAMS_RECORD], True)
    model = np.asarray(parameters_to_ndarrays(end)[0], np.float64)
    return None if np.isnan(model).all() else model
