from pathlib import Path

import pytest

from client.audit import Audit
from shared.errors import MisuseError, SiteError


def filled(path: Path) -> tuple[Audit, list[str]]:
    audit = Audit(path)
    return audit, [audit.record("sent", bytes=number, purpose="train") for number in range(5)]


def test_an_untouched_log_is_whole(tmp_path: Path) -> None:
    audit, heads = filled(tmp_path / "a.jsonl")
    assert audit.verify() == 5
    assert audit.verify(head=heads[2]) == 5


@pytest.mark.parametrize("change", ["edit", "remove", "insert", "swap"])
def test_any_change_is_found(tmp_path: Path, change: str) -> None:
    path = tmp_path / "a.jsonl"
    audit, _ = filled(path)
    lines = path.read_bytes().splitlines(keepends=True)
    if change == "edit":
        lines[1] = lines[1].replace(b'"bytes": 1', b'"bytes": 9')
    elif change == "remove":
        del lines[2]
    elif change == "insert":
        lines.insert(2, lines[2])
    else:
        lines[1], lines[2] = lines[2], lines[1]
    path.write_bytes(b"".join(lines))
    with pytest.raises(SiteError, match="audit log line"):
        audit.verify()


def test_a_cut_off_tail_shows_against_a_noted_head(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    audit, heads = filled(path)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    assert audit.verify() == 3
    with pytest.raises(SiteError, match="cut off"):
        audit.verify(head=heads[-1])


def test_a_line_torn_by_a_power_cut_does_not_stop_the_log(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    audit, _ = filled(path)
    path.write_bytes(path.read_bytes()[:-9])
    audit.record("sent", bytes=6)
    assert audit.verify() == 5


def test_a_line_longer_than_the_log_can_find_again_is_refused(tmp_path: Path) -> None:
    audit, _ = filled(tmp_path / "a.jsonl")
    with pytest.raises(MisuseError, match="audit line"):
        audit.record("refused", what="x" * 70_000)
    assert audit.verify() == 5
