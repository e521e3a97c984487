"""Small files of a hospital's own that a disk has damaged."""

from pathlib import Path

import pytest

from client.home import Home
from client.leave import known_number
from client.node_home import NodeHome
from client.status import last_sent
from client.status_record import Work
from shared.errors import SiteError

DAMAGED = [b"", b"x", b"-1", b"\xb2", b"9" * 5000]


@pytest.mark.parametrize("data", DAMAGED)
def test_a_damaged_roster_version_is_a_clear_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "roster.version").write_bytes(data)
    with pytest.raises(SiteError, match=r"roster\.version"):
        _ = Home(tmp_path).last_roster
    (tmp_path / "roster.version").write_bytes(b"7")
    assert Home(tmp_path).last_roster == 7


@pytest.mark.parametrize("data", DAMAGED)
def test_with_a_damaged_node_number_nobody_says_goodbye(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "node.number").write_bytes(data)
    assert known_number(NodeHome(tmp_path)) is None
    (tmp_path / "node.number").write_bytes(b"4711")
    assert known_number(NodeHome(tmp_path)) == 4711


def test_the_status_skips_lines_that_the_log_never_wrote(tmp_path: Path) -> None:
    good = b'{"n":0,"event":"sent","purpose":"train","run":"r","round":2,"at":"now","bytes":1}'
    (tmp_path / "audit.jsonl").write_bytes(b"\n".join((good, b"[" * 9000, b"\xff", b'{"event":"sent"}', b"7", b"")))
    assert last_sent(Home(tmp_path), "train") == Work(what="train", run="r", round=2, at="now")
    assert last_sent(Home(tmp_path), "evaluate") == Work()
