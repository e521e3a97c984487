import json
from pathlib import Path
from typing import Any

import pytest

from server.commands.federation import init, opened, remove, renew
from server.commands.members import lines_of, members
from server.federation import Federation, create
from server.home import ServerHome
from shared.crypto.identity import Identity, verify
from shared.crypto.roster import RosterEntry, open_roster
from shared.enrolment import utc
from shared.errors import InputError, KonsilError, OperatorError, PeerError, SiteError
from shared.study import MINIMAL, STUDY_LABEL, parse_study

KEYS = {name: Identity.generate().public for name in ("north", "south")}
HOST = "konsil.example"


def entry(name: str) -> RosterEntry:
    return RosterEntry(name=name, identity=Identity.generate().public, node_key=name.encode())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_second_create_replaces_no_key(tmp_path: Path) -> None:
    first = create(tmp_path).root_public
    operator = (tmp_path / "operator.key").read_bytes()
    assert create(tmp_path).root_public == first
    assert (tmp_path / "operator.key").read_bytes() == operator
    assert (tmp_path / "root" / "root.key").stat().st_mode & 0o077 == 0


def test_the_roster_changes_only_when_the_hospitals_do(tmp_path: Path) -> None:
    federation = create(tmp_path)
    federation.enroll(KEYS)
    first = federation.signed_roster
    federation.enroll(KEYS)
    assert federation.signed_roster == first
    federation.enroll(KEYS | {"west": Identity.generate().public})
    assert federation.roster.version == 2
    assert federation.roster.identity("north") == KEYS["north"]


def test_an_invitation_is_signed_for_its_run(tmp_path: Path) -> None:
    federation = create(tmp_path)
    federation.enroll(KEYS)
    study = parse_study(MINIMAL)
    invitation = federation.invitation("run-1", study)
    operator = federation.roster.operator
    verify(operator, invitation.signature, STUDY_LABEL, b"run-1", study)
    with pytest.raises(PeerError):
        verify(operator, invitation.signature, STUDY_LABEL, b"run-2", study)


@pytest.mark.parametrize("lost", ["operator.key", "root.pub"])
def test_a_key_lost_after_the_founding_is_never_made_anew(tmp_path: Path, lost: str) -> None:
    federation = create(tmp_path)
    federation.enroll(KEYS)
    (tmp_path / "root").rename(tmp_path / "offline")
    (tmp_path / lost).unlink()
    with pytest.raises(OperatorError, match="Restore it from a backup"):
        create(tmp_path)
    assert not (tmp_path / lost).exists()


def test_the_root_key_may_be_elsewhere_but_must_be_ours(tmp_path: Path) -> None:
    create(tmp_path / "one").enroll(KEYS)
    create(tmp_path / "other")
    (tmp_path / "one" / "root").rename(tmp_path / "medium")
    with pytest.raises(InputError, match="name its folder with --root"):
        Federation(tmp_path / "one").root_key()
    with pytest.raises(InputError, match=r"the key of root\.pub, got another"):
        Federation(tmp_path / "one", tmp_path / "other" / "root").root_key()
    federation = Federation(tmp_path / "one", tmp_path / "medium")
    federation.publish(federation.with_entry(entry("west")))
    assert federation.roster.version == 2


def test_another_hospital_leaves_every_entry_and_last_seen_version_in_order(tmp_path: Path) -> None:
    federation = create(tmp_path)
    for name in ("south", "north"):
        federation.publish(federation.signed((entry(name),)) if name == "south" else federation.with_entry(entry(name)))
    before = federation.roster
    federation.publish(federation.with_entry(entry("alder")))
    opened_by_north = open_roster(
        federation.signed_roster, federation.root_public, now=before.valid_from, last_seen_version=before.version
    )
    assert [each for each in opened_by_north.entries if each.name != "alder"] == list(before.entries)
    assert [each.name for each in opened_by_north.entries] == ["alder", "north", "south"]


def test_an_expired_roster_says_renew_and_can_still_grow(tmp_path: Path) -> None:
    create(tmp_path).enroll(KEYS)
    later = Federation(tmp_path, clock=lambda: 4e9)
    with pytest.raises(OperatorError, match="konsil-server renew"):
        _ = later.roster
    later.publish(later.with_entry(entry("west")))
    assert len(later.roster.entries) == 3


def test_init_writes_private_keys_for_their_owner_alone(tmp_path: Path) -> None:
    init(tmp_path / "fed", HOST)
    for path in (tmp_path / "fed").rglob("*"):
        if path.is_dir() or path.suffix == ".key" or path.name == "server.toml":
            assert path.stat().st_mode & 0o077 == 0, path
    assert Federation(tmp_path / "fed").roster.entries == ()
    assert ServerHome(tmp_path / "fed").config.host == HOST


def test_a_second_init_changes_nothing(tmp_path: Path) -> None:
    init(tmp_path, HOST)
    before = contents(tmp_path)
    init(tmp_path, HOST)
    assert contents(tmp_path) == before
    with pytest.raises(InputError, match="konsil-server renew"):
        init(tmp_path, "other.example")
    assert contents(tmp_path) == before


def test_init_without_the_offline_folder_makes_no_second_root(tmp_path: Path) -> None:
    init(tmp_path / "fed", HOST)
    (tmp_path / "fed" / "root").rename(tmp_path / "medium")
    init(tmp_path / "fed", HOST)
    (tmp_path / "fed" / "tls" / "ca.pem").unlink()
    with pytest.raises(InputError, match="--root"):
        init(tmp_path / "fed", HOST)
    assert not (tmp_path / "fed" / "root").exists()


@pytest.mark.parametrize("stop", range(9))
def test_an_init_stopped_at_any_file_is_completed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    written: list[bytes] = []
    with monkeypatch.context() as patch:
        patch.setattr("shared.files.os.fsync", lambda handle: _stop_at(stop * 2, written))
        with pytest.raises(SiteError):
            init(tmp_path, HOST)
    kept = {name: data for name, data in contents(tmp_path).items() if name.endswith(".key")}
    init(tmp_path, HOST)
    assert kept.items() <= contents(tmp_path).items()
    assert opened(tmp_path).federation.roster.version == 1
    states = {line.state for line in lines_of(opened(tmp_path), ServerHome(tmp_path), utc(0))}
    assert states == {"ok"}


def _stop_at(stop: int, written: list[bytes]) -> None:
    if len(written) >= stop:
        raise OSError(28, "No space left on device")
    written.append(b"")


def test_init_takes_over_no_folder_of_others(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    mode = tmp_path.stat().st_mode
    with pytest.raises(InputError, match="a new or empty folder"):
        init(tmp_path, HOST)
    assert tmp_path.stat().st_mode == mode


@pytest.mark.parametrize("host", ["https://x", "x y", "x\ny", 'x"', "x:1", "", "-x", "a..b", "x]"])
def test_a_host_that_is_none_is_refused_before_anything_is_written(tmp_path: Path, host: str) -> None:
    with pytest.raises(InputError, match="host"):
        init(tmp_path / "fed", host)
    assert not (tmp_path / "fed").exists()


def test_remove_takes_one_hospital_and_names_the_others_for_a_typo(tmp_path: Path) -> None:
    init(tmp_path, HOST)
    Federation(tmp_path).enroll(KEYS)
    remove("north", tmp_path)
    assert [each.name for each in Federation(tmp_path).roster.entries] == ["south"]
    with pytest.raises(InputError, match=r"a member \(south\)"):
        remove("sout", tmp_path)


def test_renew_keeps_authority_key_and_hospitals(tmp_path: Path) -> None:
    init(tmp_path, HOST)
    federation = Federation(tmp_path)
    federation.enroll(KEYS)
    before, roster = contents(tmp_path), federation.roster
    renew(tmp_path, days=10)
    changed = {name for name, data in contents(tmp_path).items() if data != before[name]}
    assert changed == {"tls/server.pem", "roster.bin"}
    assert federation.roster.entries == roster.entries
    assert federation.roster.version == roster.version + 1


@pytest.mark.parametrize("operator", [False, True])
@pytest.mark.parametrize("missing", ["ca.key", "root.key"])
def test_renew_without_its_keys_changes_nothing(tmp_path: Path, missing: str, operator: bool) -> None:
    init(tmp_path, HOST)
    (tmp_path / "root" / missing).unlink()
    before = contents(tmp_path)
    with pytest.raises(KonsilError, match=missing.replace(".", r"\.")):
        renew(tmp_path, operator=operator)
    assert contents(tmp_path) == before


def test_a_stolen_operators_key_is_withdrawn(tmp_path: Path) -> None:
    init(tmp_path, HOST)
    federation, study = Federation(tmp_path), parse_study(MINIMAL)
    federation.enroll(KEYS)
    before, stolen = federation.roster, federation.operator
    renew(tmp_path, operator=True)
    assert federation.roster.operator == federation.operator.public != stolen.public
    assert (federation.roster.version, federation.roster.entries) == (before.version + 1, before.entries)
    with pytest.raises(PeerError):
        verify(federation.roster.operator, stolen.sign(STUDY_LABEL, b"run", study), STUDY_LABEL, b"run", study)
    verify(federation.roster.operator, federation.invitation("run", study).signature, STUDY_LABEL, b"run", study)
    assert not any(data == stolen.private_bytes() for data in contents(tmp_path).values())
    assert "operator.key.next" not in contents(tmp_path)
    assert (tmp_path / "operator.key").stat().st_mode & 0o777 == 0o600
    renew(tmp_path)
    assert federation.roster.operator == federation.operator.public


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("stop", ["make_operator", "signed", "publish", "adopt_operator"])
def test_a_replacement_stopped_at_any_step_is_completed_by_the_next_renew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: str, again: bool
) -> None:
    init(tmp_path, HOST)
    federation = Federation(tmp_path)
    federation.enroll(KEYS)
    old = federation.operator.public
    step, calls = getattr(Federation, stop), list[str]()

    def then_stop(*given: Any, **named: Any) -> Any:
        done = None if stop == "adopt_operator" else step(*given, **named)
        calls.append(stop)
        if len(calls) == (2 if stop == "adopt_operator" else 1):  # its first call finds nothing to do
            raise SiteError("the machine stops here")
        return done

    with monkeypatch.context() as patch:
        patch.setattr(Federation, stop, then_stop)
        with pytest.raises(SiteError):
            renew(tmp_path, operator=True)
    listed = federation.roster.operator
    assert (listed != old) == (stop in ("publish", "adopt_operator"))
    assert federation.operator.public == listed, "what signs now is what the roster lists"
    federation.enroll(KEYS | {"west": Identity.generate().public})
    assert federation.roster.operator == listed, "and no other change of the roster brings the old key back"
    renew(tmp_path, operator=again)
    assert federation.roster.operator == federation.operator.public != old
    assert "operator.key.next" not in contents(tmp_path)


def test_members_shows_the_keys_that_hospitals_pin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init(tmp_path, HOST)
    Federation(tmp_path).enroll(KEYS)
    capsys.readouterr()
    members(tmp_path, json=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["name"]: line["identity"] for line in lines if line["kind"] == "hospital"} == {
        name: key.hex() for name, key in KEYS.items()
    }


def test_members_warns_of_what_lapses_soon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init(tmp_path, HOST)
    Federation(tmp_path).enroll(KEYS)
    renew(tmp_path, days=29)
    states = {(line.kind, line.name): line.state for line in lines_of(opened(tmp_path), ServerHome(tmp_path), utc(0))}
    assert set(states.values()) == {"ok"}
    capsys.readouterr()
    members(tmp_path, json=True)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split('"state":')[1].split(",")[0] for line in lines] == [
        '"soon"',
        '"soon"',
        '"ok"',
        '"soon"',
        '"soon"',
    ]
    members(tmp_path)
    assert "konsil-server renew" in capsys.readouterr().out
