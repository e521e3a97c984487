"""Studies that wait: what binds a decision, what a flood can do, and what the people who decide are told."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from client.approvals import LONGEST, MOST_WAITING, Approvals, Asked
from client.audit import Audit
from client.commands.approve import approve
from client.explain import explain
from client.ledger import Ledger, Limits, Purpose
from client.policy import Policy, StudiesPolicy
from client.rules import PassingError
from shared.accounting import noise_multiplier, round_event
from shared.crypto.roster import Roster, RosterEntry
from shared.errors import InputError, RefusalError, SiteError
from shared.messages.replies import Refused
from shared.study import MINIMAL, Study, parse_study, study_hash
from shared.text import printable

OPERATOR = bytes(range(32))
STUDY = parse_study(
    MINIMAL.replace('mode = "off"', 'mode = "local"\nepsilon = 2\ndelta = 1e-5\nclip = 1\nsampling_rate = 0.1').replace(
        "min_sites = 2", "min_sites = 3"
    )
)
ASKING = StudiesPolicy()


def asked(study: Study = STUDY) -> Asked:
    entries = tuple(RosterEntry(name=name, identity=name.encode().ljust(32)) for name in ("alder", "birch", "cedar"))
    roster = Roster(version=1, entries=entries, operator=OPERATOR, valid_from=0, valid_until=9)
    return Asked.of(study, roster, "run-1")


def renamed(number: int) -> Study:
    return replace(STUDY, name=f"study-{number}")


def nothing() -> None:
    return None


def refusal(approvals: Approvals, what: Asked, policy: StudiesPolicy = ASKING) -> RefusalError:
    with pytest.raises(RefusalError) as caught:
        approvals.judge(policy, what, note=nothing)
    assert caught.value.rule == "studies.ask"
    return caught.value


def test_a_new_study_waits_and_is_told_so_once_to_the_log(tmp_path: Path) -> None:
    approvals, notes = Approvals(tmp_path), list[str]()
    for _ in range(3):
        with pytest.raises(PassingError, match="it waits for approval") as caught:
            approvals.judge(ASKING, asked(), note=lambda: notes.append("waits"))
    assert Refused.of(caught.value, "alder").passing
    assert notes == ["waits"]
    assert [each.decision for each in Approvals(tmp_path).listed()] == ["waits"]


def test_an_approval_holds_for_this_very_study_only(tmp_path: Path) -> None:
    approvals = Approvals(tmp_path)
    refusal(approvals, asked())
    approvals.decide(asked(), "approved", note=nothing)
    Approvals(tmp_path).judge(ASKING, asked(), note=nothing)
    softer = replace(STUDY, training=replace(STUDY.training, rounds=3))
    assert study_hash(softer) != study_hash(STUDY)
    assert isinstance(refusal(approvals, asked(softer)), PassingError)


def test_a_denial_is_for_good_and_stands_above_every_list(tmp_path: Path) -> None:
    approvals = Approvals(tmp_path)
    refusal(approvals, asked())
    approvals.decide(asked(), "denied", note=nothing)
    for policy in (ASKING, StudiesPolicy(ask=False), StudiesPolicy(hashes=(asked().hash,))):
        error = refusal(approvals, asked(), policy)
        assert not Refused.of(error, "alder").passing
    with pytest.raises(InputError, match="A denial is for good"):
        approvals.decide(asked(), "approved", note=nothing)


def test_an_approval_can_be_taken_back(tmp_path: Path) -> None:
    approvals = Approvals(tmp_path)
    refusal(approvals, asked())
    for decision in ("approved", "denied"):
        approvals.decide(asked(), decision, note=nothing)
    refusal(approvals, asked())


@pytest.mark.parametrize(
    "policy",
    [
        StudiesPolicy(ask=False),
        StudiesPolicy(hashes=(study_hash(STUDY).hex(),)),
        StudiesPolicy(models=("cnn",)),
        StudiesPolicy(signers=(OPERATOR.hex(),)),
    ],
)
def test_what_the_policy_lists_is_not_asked(tmp_path: Path, policy: StudiesPolicy) -> None:
    Approvals(tmp_path / "approvals").judge(policy, asked(), note=nothing)
    assert not (tmp_path / "approvals").exists(), "nothing is kept"


def test_a_flood_of_studies_fills_no_disk_and_pushes_none_out(tmp_path: Path) -> None:
    approvals = Approvals(tmp_path)
    refusal(approvals, asked())
    for number in range(3 * MOST_WAITING):
        assert Refused.of(refusal(approvals, asked(renamed(number))), "alder").passing
    files = list(tmp_path.glob("*.study"))
    assert len(files) == MOST_WAITING
    assert sum(path.stat().st_size for path in files) < MOST_WAITING * LONGEST
    assert approvals.match(asked().hash).decision == "waits"
    approvals.decide(asked(), "approved", note=nothing)
    refusal(approvals, asked(renamed(999)))
    assert len(list(tmp_path.glob("*.study"))) == MOST_WAITING + 1, "a decision makes room for one"


def test_a_huge_study_is_not_kept(tmp_path: Path) -> None:
    huge = replace(STUDY, model=replace(STUDY.model, options={"x" * LONGEST: 1}))
    assert not Refused.of(refusal(Approvals(tmp_path), asked(huge)), "alder").passing
    assert list(tmp_path.glob("*.study")) == []


def test_a_log_that_cannot_be_written_keeps_nothing_and_decides_nothing(tmp_path: Path) -> None:
    def full() -> None:
        raise SiteError("audit log", got="No space left on device")

    approvals = Approvals(tmp_path)
    with pytest.raises(SiteError, match="No space left"):
        approvals.judge(ASKING, asked(), note=full)
    assert approvals.listed() == ()
    refusal(approvals, asked())
    with pytest.raises(SiteError, match="No space left"):
        approvals.decide(asked(), "approved", note=full)
    refusal(approvals, asked())


def test_a_damaged_file_is_named_and_approves_nothing(tmp_path: Path) -> None:
    approvals = Approvals(tmp_path)
    refusal(approvals, asked())
    (path,) = tmp_path.glob("*.study")
    path.write_bytes(b"\x80")
    with pytest.raises(SiteError, match=f"approvals/{path.name}"):
        approvals.judge(ASKING, asked(), note=nothing)


# The command


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "policy.toml").write_text("[privacy]\nepsilon_total = 3.0\n")
    (tmp_path / "site.toml").write_text('name = "alder"\narchive = "a"\nlabels = "l"\n')
    refusal(Approvals(tmp_path / "approvals"), asked())
    return tmp_path


def spoken(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_the_list_says_what_waits(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    approve(home=home)
    assert asked().hash[:16] in spoken(capsys)
    approve(home=home, json=True)
    assert json.loads(capsys.readouterr().out)["decision"] == "waits"


def test_one_study_is_told_in_plain_words(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sigma = noise_multiplier(STUDY)
    assert sigma is not None
    ledger = Ledger(home / "ledger.sqlite")
    earlier = Purpose(bytes(32), "earlier", bytes(32), "r", 1)
    ledger.reserve([b"p" * 32], round_event(STUDY, sigma), earlier, Limits(9, 9, 1e-5))
    approve(asked().hash[:8], home=home)
    text = spoken(capsys)
    for words in (
        'Learns to tell "nodule" from "clear".',
        "modality DX, as 32 × 32 pixels in grey",
        "the model cnn",
        "2 rounds of 2 steps",
        "at least 3 of alder, birch, cedar",
        "ε = 2 at δ = 1e-05 for each patient",
        "gets more than 7.39 times as likely, but for a chance of 1e-05",
        "meets aggregation.min_cohort: demands sums over at least 3 hospitals",
        OPERATOR.hex(),
        "Images, patient identities and labels.",
        "how long each step took, on a coarse scale",
    ):
        assert words in text
    found = explain(asked(), Policy(), ledger)
    now, after = ledger.epsilon(1e-5), ledger.epsilon_with([round_event(STUDY, sigma)] * 2, 1e-5)
    assert now < after
    assert f"has ε = {now:.3g} now and would have {after:.3g} after all rounds; {round(8 - after, 2):g} of 8" in str(
        found.privacy
    )


def test_a_study_that_asks_more_than_is_left_breaks_a_rule(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "policy.toml").write_text("[privacy]\nepsilon_total = 1.0\n")
    approve(asked().hash, home=home, json=True)
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [rule["rule"] for rule in found["rules"] if not rule["holds"]] == ["privacy.epsilon_total"]


@pytest.mark.parametrize("run", ["a\x1b[31mb", "a\nBREAKS b", "a\u202eb", "[red]a[/red]"])
def test_what_the_operator_wrote_steers_no_terminal(home: Path, capsys: pytest.CaptureFixture[str], run: str) -> None:
    labels = replace(STUDY, task=replace(STUDY.task, labels=("[red]clear", "[/b]")))
    what = replace(asked(labels), run=run)
    refusal(Approvals(home / "approvals"), what)
    for study in (None, what.hash):
        approve(study, home=home)
    out = capsys.readouterr().out
    assert all(line.isprintable() for line in out.split("\n"))
    assert 'Learns to tell "[/b]" from "[red]clear".' in out
    assert f"for run {printable(run)}" in " ".join(out.split())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root acts in another user's home")
def test_what_root_decides_in_another_users_home_is_that_users(home: Path) -> None:
    os.chown(home, 64001, 64001)
    (home / "approvals").rename(home / "before")
    refusal(Approvals(home / "approvals"), asked())
    approve(asked().hash, home=home, yes=True)
    made = [path for path in home.rglob("*") if path.name not in {"site.toml", "policy.toml"}]
    made = [path for path in made if "before" not in path.parts]
    assert {path.name for path in made} >= {"approvals", ".lock", f"{asked().hash}.study", "audit.jsonl"}
    assert {(path.name, path.stat().st_uid) for path in made} == {(path.name, 64001) for path in made}


@pytest.mark.parametrize("trap", ["approvals", "approvals/.lock", "audit.jsonl"])
def test_no_link_is_followed(home: Path, trap: str) -> None:
    outside = home.parent / f"{home.name}-outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "file").touch()
    before = {path: path.stat() for path in outside.rglob("*")}
    if (home / trap).exists():
        (home / trap).rename(home / "moved")
    (home / trap).symlink_to(outside / ("folder" if trap == "approvals" else "file"))
    with pytest.raises(SiteError, match="correct the permissions"):
        approve(str(study_file(home)), home=home, yes=True)
    assert {path: path.stat() for path in outside.rglob("*")} == before


def study_file(home: Path) -> Path:
    path = home / "study.toml"
    path.write_text(MINIMAL)
    return path


@pytest.mark.parametrize(("flag", "decision"), [("yes", "approved"), ("deny", "denied")])
def test_a_decision_is_kept_and_logged(
    home: Path, capsys: pytest.CaptureFixture[str], flag: str, decision: str
) -> None:
    approve(asked().hash[:12], home=home, yes=flag == "yes", deny=flag == "deny")
    assert decision in spoken(capsys)
    assert Approvals(home / "approvals").match(asked().hash).decision == decision
    (entry,) = Audit(home / "audit.jsonl").entries()
    assert (entry.event, entry.facts["hash"], entry.facts["user"]) == (decision, asked().hash, os.getuid())


@pytest.mark.parametrize(
    ("study", "flags", "problem"),
    [
        ("ffff", {}, "got those of 0"),
        ("", {}, "got those of 0"),
        (None, {"yes": True}, "a study's hash"),
        ("x", {"yes": True, "deny": True}, "one of --yes and --deny"),
    ],
)
def test_unusable_arguments_are_input_errors(
    home: Path, study: str | None, flags: dict[str, bool], problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        approve(study, home=home, **flags)


def test_looking_at_a_study_builds_no_model(home: Path) -> None:
    """Its options come from outside and may ask for any amount of memory."""
    greedy = replace(STUDY, model=replace(STUDY.model, options={"width": 10**9}))
    refusal(Approvals(home / "approvals"), asked(greedy))
    approve(asked(greedy).hash, home=home)


def test_agreed_is_what_was_approved_or_waits(tmp_path: Path) -> None:
    approvals = Approvals(tmp_path)
    for number, decision in ((1, "approved"), (2, "denied")):
        approvals.decide(asked(renamed(number)), decision, note=nothing)  # type: ignore[arg-type]  # two of its words
    refusal(approvals, asked(renamed(3)))
    (tmp_path / "damaged.study").write_bytes(b"torn")
    assert {study.name for study in approvals.agreed()} == {"study-1", "study-3"}
