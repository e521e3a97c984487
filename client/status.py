"""The hospital's status as the agent knows it: what is on disk, so true after a restart too, and what goes on now."""

import shutil
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec
import torch

from client.home import Home
from client.ledger import Ledger
from client.node_report import NodeReport
from client.status_record import Budget, Status, Work
from shared.journal import now
from shared.version import SOFTWARE
from shared.wire import Record, read_json

#: Seconds without a report after which the network side counts as gone.
SILENT_S = 30.0
#: How far back from the audit log's end the last round is looked for.
TAIL_BYTES = 1 << 18


@dataclass
class Live:
    """What the running agent keeps in memory for its status."""

    since: str = field(default_factory=now)
    busy: Work | None = None
    last: Work = field(default_factory=Work)
    node: NodeReport | None = None
    node_at: float = 0.0

    def heard(self, report: NodeReport) -> None:
        """The network side spoke."""
        self.node, self.node_at = report, time.monotonic()


def status_of(home: Home, live: Live) -> Status:
    """The status now. Opens its own handles: any thread may call."""
    policy, heard = home.policy, time.monotonic() - live.node_at if live.node else None
    why_not = _why_not(live.node, heard)
    delta = policy.privacy.delta
    with closing(Ledger(home.path / "ledger.sqlite")) as ledger:
        spent = ledger.epsilon(delta)
    return Status(
        site=home.config.name,
        taking_part=not why_not,
        why_not=why_not,
        node=live.node,
        node_heard_s=None if heard is None else round(heard, 1),
        agent_since=live.since,
        busy=live.busy,
        last_message=live.last if live.last.at else last_sent(home, ""),
        last_round=last_sent(home, "train"),
        budget=Budget(spent=round(spent, 4), limit=policy.privacy.epsilon_total, delta=delta),
        disk_free_gb=round(shutil.disk_usage(home.path).free / 1e9, 1),
        gpu=_gpu(home.config.device),
        software=SOFTWARE,
    )


def _why_not(node: NodeReport | None, heard: float | None) -> str:
    if node is None or heard is None:
        return "the network side has not reported to the agent: is konsil-client node running?"
    if heard > SILENT_S:
        return f"the network side has been silent for {heard:.0f} s"
    return "" if node.registered else f"not registered with {node.coordinator}: {node.trouble or 'still connecting'}"


def last_sent(home: Home, purpose: str) -> Work:
    """The last thing that left for `purpose` (any, if empty), from the end of the audit log."""
    for line in _tail(home.path / "audit.jsonl"):
        found = _sent(line)
        if found is not None and (not purpose or found.purpose == purpose):
            return Work(what=found.purpose, run=found.run, round=found.round, at=found.at)
    return Work()


class _Sent(Record, frozen=True, forbid_unknown_fields=False, tag_field="event", tag="sent"):
    """What is read of an audit line of bytes that left."""

    purpose: str
    at: str
    run: str = ""
    round: int = 0


def _sent(line: bytes) -> _Sent | None:
    """The line, if it is one of bytes that left; whether the log is whole is for `audit verify` to say."""
    with suppress(msgspec.DecodeError):
        return read_json(line, _Sent)
    return None


def _tail(path: Path) -> list[bytes]:
    """The last whole lines of the file, newest first."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        start = file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        lines = file.read().split(b"\n")[:-1]
    return lines[: 0 if start else None : -1] if start else lines[::-1]


def _gpu(device: Literal["cpu", "cuda"]) -> str:
    if device == "cpu":
        return "not used"
    if not torch.cuda.is_available():
        return "asked for in site.toml, but not found"
    free, total = torch.cuda.mem_get_info()
    return f"{torch.cuda.get_device_name()}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free"
