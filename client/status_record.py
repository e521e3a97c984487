"""What `konsil-client status` says: is this hospital really taking part?

Names, times and figures only: nothing of a patient.
"""

import msgspec

from client.node_report import NodeReport
from shared.errors import SiteError
from shared.wire import Record, read_json


class Budget(Record, frozen=True):
    """ε spent by the patient who spent most, and the hospital's limit, both at `delta`."""

    spent: float
    limit: float
    delta: float


class Work(Record, frozen=True):
    """What the agent is doing, or did last."""

    what: str = ""
    run: str = ""
    round: int = 0
    at: str = ""


class Status(Record, frozen=True):
    """The whole answer. `taking_part` only if the network side is registered and heard of within SILENT_S."""

    site: str
    taking_part: bool
    why_not: str
    node: NodeReport | None
    node_heard_s: float | None
    agent_since: str
    busy: Work | None
    last_message: Work
    last_round: Work
    budget: Budget
    disk_free_gb: float
    gpu: str
    software: str


def read_status(data: bytes) -> Status:
    """The agent's answer. Raises SiteError for one that is none, as of an agent of another version."""
    try:
        return read_json(data, Status)
    except msgspec.DecodeError as error:
        raise SiteError(
            "the agent's answer", expected="a status", got=str(error), do="Restart the agent: one Konsil, one version."
        ) from None
