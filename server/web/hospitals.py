"""The hospitals of the roster: connected or not, when each last contributed, what it missed."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from server import observer as seen
from server.history import Moment, RunLine
from shared.crypto.roster import RosterEntry
from shared.wire import read_json


class Node(msgspec.Struct, frozen=True):
    """What the coordinator knows of a hospital's connection; more fields may come."""

    online: bool
    since: str = ""


@dataclass(frozen=True)
class Contribution:
    """The last round a hospital trained in."""

    run: str
    round: int
    at: str


@dataclass(frozen=True)
class Hospital:
    """One line of the page. `node` None: never seen connected; `missed` of the `rounds` of the newest run."""

    name: str
    fingerprint: str
    node: Node | None
    last: Contribution | None
    missed: int
    rounds: int


def read_nodes(path: Path) -> dict[str, Node]:
    """nodes.json; nothing known where it is missing or damaged."""
    try:
        return read_json(path.read_bytes(), dict[str, Node])
    except (OSError, msgspec.DecodeError):
        return {}


def hospitals(
    entries: Iterable[RosterEntry], nodes: dict[str, Node], runs: Iterable[tuple[RunLine, tuple[Moment, ...]]]
) -> tuple[Hospital, ...]:
    """Everyone on the roster. `runs`: the newest first, each with its events."""
    last: dict[str, Contribution] = {}
    newest: dict[int, seen.RoundFinished] = {}
    for line, moments in runs:
        rounds = {m.event.round: (m.at, m.event) for m in moments if isinstance(m.event, seen.RoundFinished)}
        newest = newest or {number: event for number, (_, event) in rounds.items()}
        for number in sorted(rounds, reverse=True):
            at, event = rounds[number]
            for site in event.trained:
                last.setdefault(site, Contribution(line.run, number, at))
    return tuple(
        Hospital(
            name=entry.name,
            fingerprint=entry.identity.hex()[:16],
            node=nodes.get(entry.name),
            last=last.get(entry.name),
            missed=sum(entry.name not in event.trained for event in newest.values()),
            rounds=len(newest),
        )
        for entry in entries
    )
