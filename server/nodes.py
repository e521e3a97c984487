"""Keep the SuperLink's nodes equal to the roster's, and say who is connected.

Guarantees: only node keys of the roster in force can connect; a hospital that was removed, or whose node key changed,
is out at the next look. nodes.json tells the page and `status` who is online, and a run whose node it is
that answers.
"""

from pathlib import Path

import msgspec

from server.control import Control
from server.home import ServerHome
from shared.errors import OperatorError
from shared.files import write_atomically
from shared.wire import Record, read_json


class NodeLine(Record, frozen=True):
    """One hospital's node: Flower's number of it, and whether it is connected, since when (ISO, UTC)."""

    number: int
    online: bool
    since: str


def nodes_file(home: ServerHome) -> Path:
    """Where `match_roster` writes what it found."""
    return home.path / "nodes.json"


def match_roster(home: ServerHome, control: Control) -> dict[str, NodeLine]:
    """Register who is missing, unregister who is no member; returns the members' nodes by name."""
    wanted = {entry.node_key: entry.name for entry in home.federation.roster.entries if entry.node_key}
    found = {node.key: node for node in control.nodes()}
    for key, node in found.items():
        if key not in wanted:
            control.unregister(node.number)
    for key, name in wanted.items():
        if key not in found:
            control.register(key, name)
    lines = {
        wanted[node.key]: NodeLine(number=node.number, online=node.online, since=node.since)
        for node in control.nodes()
        if node.key in wanted
    }
    write_atomically(nodes_file(home), msgspec.json.encode(lines))
    return lines


def read_nodes(home: ServerHome) -> dict[str, NodeLine]:
    """What `match_roster` wrote last; empty before the first time. Raises OperatorError for a damaged file."""
    path = nodes_file(home)
    try:
        return read_json(path.read_bytes(), dict[str, NodeLine]) if path.exists() else {}
    except msgspec.DecodeError as error:
        do = "Delete it: konsil-server up writes it anew."
        raise OperatorError(str(path), expected="the nodes as Konsil writes them", got=str(error), do=do) from None


def owner_of(home: ServerHome, number: int) -> str | None:
    """The member whose node key Flower checked for node `number`; None for a node that is no member's."""
    return next((name for name, line in read_nodes(home).items() if line.number == number), None)
