import hashlib
import json
import os
from pathlib import Path

import msgspec
import pytest

from client.audit import GENESIS, Audit
from client.commands.audit import head as print_head
from client.commands.audit import verify
from client.receipts import compare
from shared.errors import InputError, MisuseError, SiteError
from shared.receipts import Receipt
from shared.text import printable


def filled(path: Path) -> tuple[Audit, list[str]]:
    audit = Audit(path)
    return audit, [audit.record("sent", bytes=number, purpose="train") for number in range(5)]


def test_an_untouched_log_is_whole(tmp_path: Path) -> None:
    audit, heads = filled(tmp_path / "a.jsonl")
    assert audit.verify() == 5
    assert audit.verify(head=heads[2]) == 5
    assert audit.head().digest == heads[-1]
    assert [entry.digest for entry in audit.entries()] == heads


def test_no_log_yet_has_the_first_head(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "a.jsonl")
    assert (audit.head().lines, audit.head().digest) == (0, GENESIS)
    assert audit.verify(head=GENESIS) == 0


@pytest.mark.parametrize("change", ["edit", "remove", "insert", "swap", "first"])
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
    elif change == "first":
        del lines[0]
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


def test_a_log_written_anew_shows_against_a_noted_head(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    audit, heads = filled(path)
    path.unlink()
    filled(path)
    with pytest.raises(SiteError, match="written anew"):
        audit.verify(head=heads[-1])


def test_a_line_torn_by_a_power_cut_is_named_and_does_not_stop_the_log(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    audit, _ = filled(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(SiteError, match=r"audit log line 5: expected a whole line, got a torn one"):
        audit.verify()
    audit.record("sent", bytes=6)
    assert audit.verify() == 5


@pytest.mark.parametrize(
    "line", [b"\xff\xfe\n", b"null\n", b"[]\n", b"{}\n", b'{"n": 1\n', b"\n", b"\x00" * 99 + b"\n"]
)
def test_what_is_no_line_of_ours_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "a.jsonl"
    audit, _ = filled(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], line, *lines[2:]]))
    with pytest.raises(SiteError, match="audit log line 2: expected a JSON object"):
        audit.verify()
    path.write_bytes(b"".join([*lines[:4], line]))
    with pytest.raises(SiteError, match="audit log: expected a last line that this log wrote"):
        audit.record("sent", bytes=7)


def test_a_line_longer_than_the_log_can_find_again_is_refused(tmp_path: Path) -> None:
    audit, _ = filled(tmp_path / "a.jsonl")
    with pytest.raises(MisuseError, match="audit line"):
        audit.record("refused", what="x" * 70_000)
    assert audit.verify() == 5


def test_a_full_disk_is_a_clear_error_and_the_log_goes_on_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit, _ = filled(tmp_path / "a.jsonl")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SiteError, match=r"got No space left on device. Free space .*until then nothing leaves"):
        audit.record("sent", bytes=1)
    monkeypatch.undo()
    audit.record("sent", bytes=2)
    assert audit.verify() > 5


# The coordinator's log


def sent(audit: Audit, data: bytes, purpose: str, run: str = "r", round_: int = 1) -> None:
    audit.record(
        "sent", purpose=purpose, run=run, round=round_, bytes=len(data), digest=hashlib.sha256(data).hexdigest()
    )


def got(data: bytes, purpose: str, site: str = "alder", run: str = "r") -> Receipt:
    digest = hashlib.sha256(data).hexdigest()
    return Receipt(at="now", site=site, run=run, round=1, purpose=purpose, sha256=digest, bytes=len(data))


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    audit = Audit(tmp_path / "audit.jsonl")
    sent(audit, b"joined", "join")
    sent(audit, b"masked", "train")
    sent(audit, b"masked", "train")  # asked again, sent again
    audit.record("refused", what="no", rule="")
    sent(audit, b"of another run", "train", run="q")
    return audit


def test_two_logs_that_agree(audit: Audit) -> None:
    found = compare("alder", audit.entries(), [got(b"joined", "join"), got(b"masked", "train")])
    assert (found.matched, found.alarms, found.lost) == (2, (), ())


def test_what_was_lost_on_the_way_is_no_alarm(audit: Audit) -> None:
    found = compare("alder", audit.entries(), [got(b"joined", "join")])
    assert (found.matched, found.alarms) == (1, ())
    (line,) = found.lost
    assert "train of run r, round 1" in line


@pytest.mark.parametrize(
    ("receipt", "alarm"),
    [
        (got(b"forged", "train"), "6 bytes that this hospital never sent"),
        (got(b"masked", "unmask"), "but sent as 6 bytes for train"),
        (msgspec.structs.replace(got(b"masked", "train"), bytes=60), "received as 60 bytes, but sent as 6"),
    ],
)
def test_what_was_received_but_never_sent_is_an_alarm(audit: Audit, receipt: Receipt, alarm: str) -> None:
    found = compare("alder", audit.entries(), [got(b"joined", "join"), receipt])
    assert alarm in found.alarms[0]
    assert len(found.alarms) == 1


def test_what_others_sent_is_their_affair(audit: Audit) -> None:
    found = compare("alder", audit.entries(), [got(b"theirs", "train", site="birch"), got(b"?", "join", site="node 3")])
    assert (found.matched, found.alarms) == (0, ())


# The commands


@pytest.fixture
def home(audit: Audit, tmp_path: Path) -> Path:
    (tmp_path / "site.toml").write_text('name = "alder"\narchive = "a"\nlabels = "l"\n')
    return tmp_path


def write(path: Path, *receipts: Receipt) -> Path:
    path.write_bytes(b"".join(msgspec.json.encode(receipt) + b"\n" for receipt in receipts))
    return path


def test_the_head_is_printed_to_note_down(home: Path, audit: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    print_head(home=home)
    noted = capsys.readouterr().out
    assert noted == audit.head().digest + os.linesep
    verify(home=home, head=noted.strip())
    out = capsys.readouterr().out
    assert "5 lines, unbroken" in out
    assert f"head to note down: {noted.strip()}" in out


def test_an_alarm_is_printed_and_ends_with_status_1(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = write(home / "receipts.jsonl", got(b"joined", "join"), got(b"forged", "train"))
    with pytest.raises(SiteError, match="got 1 such replies") as caught:
        verify(home=home, receipts=log)
    assert caught.value.exit_status == 1
    out = capsys.readouterr().out
    assert "1 replies are in both logs" in out
    assert "lost on the way: line 2" in out or "lost on the way: line 3" in out
    assert "ALARM: now train of run r, round 1: 6 bytes that this hospital never sent" in out


@pytest.mark.parametrize("hostile", ["a\x1b[31mb", "a\nALARM", "a\u202eb", "[red]b[/red]"])
def test_the_coordinators_words_steer_no_terminal(home: Path, capsys: pytest.CaptureFixture[str], hostile: str) -> None:
    with pytest.raises(SiteError):
        verify(home=home, receipts=write(home / "receipts.jsonl", got(b"forged", hostile)))
    out = capsys.readouterr().out
    assert all(line.isprintable() for line in out.split("\n"))
    assert f"ALARM: now {printable(hostile)} of run r" in out


def test_json_says_the_same(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verify(home=home, receipts=write(home / "receipts.jsonl", got(b"joined", "join")), json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["lines"], found["receipts"]["matched"], found["receipts"]["alarms"]) == (5, 1, [])


@pytest.mark.parametrize("content", [b"nonsense\n", b'{"site": "alder"}\n', b"\xff\n", b"x" * 200_000])
def test_a_file_that_is_no_log_of_receipts_is_named(home: Path, content: bytes) -> None:
    (home / "receipts.jsonl").write_bytes(content)
    with pytest.raises(InputError, match=r"receipts.jsonl line 1: expected a receipt"):
        verify(home=home, receipts=home / "receipts.jsonl")


def test_a_missing_file_is_named(home: Path) -> None:
    with pytest.raises(InputError, match=r"receipts\.jsonl"):
        verify(home=home, receipts=home / "receipts.jsonl")


@pytest.mark.parametrize("line", [b"[" * 9000, b'{"n": 1e999}', b'{"n": 0, "before": "", "event": ["sent"]}'])
def test_a_line_that_nobody_wrote_is_a_clear_error(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(line + b"\n")
    with pytest.raises(SiteError, match="audit log line 1"):
        Audit(path).verify()
    path.write_bytes(line[:12] + b"\n")
    with pytest.raises(SiteError, match="restore it"):
        Audit(path).record("sent")


def test_a_line_without_what_left_vouches_for_nothing(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "a.jsonl")
    audit.record("sent", digest="ab")
    received = Receipt(at="", site="alder", run="r", round=1, purpose="train", sha256="ab", bytes=1)
    found = compare("alder", audit.entries(), [received])
    assert (found.matched, len(found.alarms), found.lost) == (0, 1, ())
