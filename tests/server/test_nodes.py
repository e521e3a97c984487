"""The SuperLink's nodes follow the roster: nobody else's key stays."""

from pathlib import Path
from typing import Any

import pytest

import server.nodes
from server.control import FlowerNode
from server.home import ServerHome
from server.nodes import NodeLine, match_roster, nodes_file, owner_of, read_nodes
from shared.crypto.roster import RosterEntry
from shared.errors import OperatorError


class FakeFlower:
    def __init__(self, *keys: bytes) -> None:
        self.known = {key: FlowerNode(number, key, True, "2026") for number, key in enumerate(keys, 1)}
        self.calls: list[tuple[object, ...]] = []

    def nodes(self) -> tuple[FlowerNode, ...]:
        return tuple(self.known.values())

    def register(self, key: bytes, name: str) -> None:
        self.calls.append(("in", key, name))
        self.known[key] = FlowerNode(100 + len(self.known), key, False, "")

    def unregister(self, number: int) -> None:
        self.calls.append(("out", number))
        self.known = {key: node for key, node in self.known.items() if node.number != number}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServerHome:
    entries = [
        RosterEntry(name=name, identity=bytes(32), node_key=key)
        for name, key in (("alder", b"A"), ("birch", b"B"), ("cedar", b""))
    ]
    roster: Any = type("Roster", (), {"entries": tuple(entries)})
    monkeypatch.setattr("server.federation.Federation.roster", property(lambda _: roster))
    return ServerHome(tmp_path)


def match(home: ServerHome, flower: FakeFlower) -> dict[str, NodeLine]:
    return match_roster(home, flower)  # type: ignore[arg-type]


def test_the_missing_come_in_and_strangers_go_out(home: ServerHome) -> None:
    flower = FakeFlower(b"A", b"mallory")
    found = match(home, flower)
    assert flower.calls == [("out", 2), ("in", b"B", "birch")]
    assert set(flower.known) == {b"A", b"B"}
    assert found == {"alder": NodeLine(number=1, online=True, since="2026"), "birch": found["birch"]}
    assert not found["birch"].online


def test_a_second_look_changes_nothing(home: ServerHome) -> None:
    flower = FakeFlower(b"A", b"B")
    match(home, flower)
    assert flower.calls == []


def test_a_changed_key_replaces_the_old_one(home: ServerHome, monkeypatch: pytest.MonkeyPatch) -> None:
    flower = FakeFlower(b"old alder", b"B")
    match(home, flower)
    assert flower.calls == [("out", 1), ("in", b"A", "alder")]


def test_who_is_behind_a_number(home: ServerHome) -> None:
    assert read_nodes(home) == {}
    match(home, FakeFlower(b"A", b"B", b"mallory"))
    assert [owner_of(home, number) for number in (1, 2, 3, 0)] == ["alder", "birch", None, None]
    assert nodes_file(home).exists()
    assert server.nodes.read_nodes(home)["alder"].since == "2026"


@pytest.mark.parametrize("data", [b"", b'{"\xff":1}', b'{"north":{"number":"7"}}'])
def test_a_damaged_file_is_a_clear_error(home: ServerHome, data: bytes) -> None:
    nodes_file(home).write_bytes(data)
    with pytest.raises(OperatorError, match="Delete it"):
        read_nodes(home)
