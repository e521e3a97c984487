import hashlib
from pathlib import Path

import pytest

from server.receipts import Receipts
from shared.errors import OperatorError
from shared.messages.replies import Answered, Refused, write_reply


def note(receipts: Receipts, data: bytes, *, site: str = "alder", asked: str = "train") -> None:
    receipts.note(data, node=7, site=site, run="r", round_=2, asked=asked)


def refusal(site: str) -> bytes:
    return write_reply(Refused(what="no", expected="", got="", do="", rule="x", site=site))


def test_a_reply_is_one_line_by_what_it_answers(tmp_path: Path) -> None:
    receipts, data = Receipts(tmp_path / "r.jsonl"), write_reply(Answered(answer=b"shares"))
    note(receipts, data, asked="unmask")
    note(receipts, b"no message at all")
    first, second = Receipts(tmp_path / "r.jsonl").lines()
    assert (first.site, first.run, first.round, first.purpose) == ("alder", "r", 2, "unmask")
    assert (first.sha256, first.bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    assert (second.purpose, second.bytes) == ("train", 17)


def test_a_refusal_is_called_one(tmp_path: Path) -> None:
    receipts = Receipts(tmp_path / "r.jsonl")
    note(receipts, refusal("alder"))
    assert [line.purpose for line in receipts.lines()] == ["refusal"]


@pytest.mark.parametrize(
    ("reply", "name"),
    [(refusal("birch"), "birch"), (refusal(""), "node 7"), (b"?", "node 7"), (refusal("x" * 9999), "x" * 64)],
)
def test_before_a_hospital_has_joined_its_own_word_is_noted(tmp_path: Path, reply: bytes, name: str) -> None:
    receipts = Receipts(tmp_path / "r.jsonl")
    note(receipts, reply, site="", asked="join")
    (line,) = receipts.lines()
    assert line.site == name or (len(name) == 64 and len(line.site) <= 64)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
def test_a_full_disk_says_so(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").symlink_to("/dev/full")
    with pytest.raises(OperatorError, match=r"receipts r.jsonl: expected its next line on disk"):
        note(Receipts(tmp_path / "r.jsonl"), b"")


def test_a_torn_line_is_named(tmp_path: Path) -> None:
    receipts = Receipts(tmp_path / "r.jsonl")
    note(receipts, refusal("alder"))
    with (tmp_path / "r.jsonl").open("ab") as file:
        file.write(b'{"at":"\xff')
    with pytest.raises(OperatorError, match=r"r\.jsonl line 2"):
        list(receipts.lines())
