"""What `konsil-client status` says: is this hospital really taking part?

Names, times and figures only: nothing of a patient.
"""

from client.node_report import NodeReport
from shared.wire import Record


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
