"""Rosters that change under running runs: who joins later disturbs nobody, who is removed is out at once, and no old
roster comes back."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

import server.attempts
from client.agreement import newest_roster
from client.home import Home, make_next_identity
from client.rounds import Rounds
from shared.crypto.identity import Identity
from shared.crypto.roster import RosterEntry, SignedRoster
from shared.messages.replies import Contributed, Joined, Refused
from shared.study import Study
from shared.wire import pack
from simulations.attacker import SURVEY, Attacker
from simulations.faults import LocalLink, Moment, lost
from simulations.invitation_attacks import foreign_root, next_roster, signed, under
from simulations.local import LocalFederation
from simulations.plan_attacks import without_the_site

FREE = (
    '[privacy]\nleast = "off"\nepsilon_total = 100.0\nepsilon_per_study = 100.0\n'
    "[aggregation]\nmin_cohort = 2\ncolluders = 0\n[studies]\nask = false\n"
)


@pytest.fixture
def attacker(local: LocalFederation, private: Study) -> Attacker:
    """All have joined a run under roster 1."""
    for name in local.names:
        (local.home(name).path / "policy.toml").write_text(FREE)
    return Attacker(local.federation, dict(zip(local.names, local.sites(), strict=True)), private).join_all()


def entries(attacker: Attacker, *, without: str = "", rekeyed: str = "", added: str = "") -> tuple[RosterEntry, ...]:
    kept = [entry for entry in attacker.federation.roster.entries if entry.name != without]
    kept = [replace(entry, identity=Identity.generate().public) if entry.name == rekeyed else entry for entry in kept]
    if added:
        kept.append(RosterEntry(name=added, identity=Identity.generate().public))
    return tuple(sorted(kept, key=lambda entry: entry.name))


def shown(attacker: Attacker, roster: SignedRoster, site: str = "alder", run: str = "later") -> object:
    """`site` is invited to another run under `roster`, and so sees it."""
    other = Attacker(attacker.federation, attacker.sites, attacker.study, run=run)
    return other.say(site, under(other, roster))


def refused(reply: object, *parts: str) -> None:
    assert isinstance(reply, Refused), reply
    for part in parts:
        assert part in f"{reply.reason} {reply.do}"


def test_a_hospital_that_is_added_ends_no_running_run(local: LocalFederation, attacker: Attacker) -> None:
    newer = next_roster(attacker, entries=entries(attacker, added="dogwood"))
    assert isinstance(shown(attacker, newer), Joined)
    assert local.home("alder").last_roster == 2
    assert isinstance(attacker.step("alder", SURVEY), Contributed)
    again = attacker.say("alder", attacker.invitation)
    assert isinstance(again, Joined)
    assert again.record == attacker.records["alder"], "a lost join is answered as before"


def test_an_old_roster_for_a_new_run_is_refused(local: LocalFederation, attacker: Attacker) -> None:
    """Rollback: a hospital was removed, and the operator brings the roster from before."""
    old = attacker.federation.signed_roster
    newer = next_roster(attacker, entries=entries(attacker, without="cedar"))
    assert isinstance(shown(attacker, newer), Joined)
    refused(shown(attacker, old, run="rolled-back"), "roster", "expected version 2 or later, got 1")
    assert Rounds(local.home("alder").path / "rounds.sqlite").run("rolled-back") is None


@pytest.mark.parametrize("gone", ["roster.version", "roster.bin"])
def test_either_file_alone_stops_a_rollback(local: LocalFederation, attacker: Attacker, gone: str) -> None:
    old = attacker.federation.signed_roster
    assert isinstance(shown(attacker, next_roster(attacker)), Joined)
    (local.home("alder").path / gone).unlink()
    refused(shown(attacker, old, run="rolled-back"), "expected version 2 or later, got 1")


def test_an_old_roster_in_a_running_run_moves_nothing_back(local: LocalFederation, attacker: Attacker) -> None:
    assert isinstance(shown(attacker, next_roster(attacker)), Joined)
    assert isinstance(attacker.say("alder", attacker.invitation), Joined)
    assert local.home("alder").last_roster == 2
    newest = newest_roster(local.home("alder"))
    assert newest is not None
    assert newest.version == 2


@pytest.mark.parametrize("change", ["without", "rekeyed"])
def test_a_removed_or_rekeyed_member_is_out_of_running_runs_at_once(attacker: Attacker, change: str) -> None:
    newer = next_roster(attacker, entries=entries(attacker, **{change: "cedar"}))
    assert isinstance(shown(attacker, newer), Joined)
    refused(attacker.step("alder", SURVEY), "site 'cedar'")
    rest = without_the_site(attacker, "cedar", attacker.plan(attacker.train_task(), attempt=2))
    assert isinstance(attacker.step("alder", attacker.train_task(), rest), Contributed), "the others go on"
    assert isinstance(attacker.step("birch", SURVEY), Contributed), "birch has not seen the newer roster"


@pytest.mark.parametrize("change", ["without", "rekeyed"])
def test_a_site_that_was_removed_itself_stops(attacker: Attacker, change: str) -> None:
    newer = next_roster(attacker, entries=entries(attacker, **{change: "alder"}))
    refused(shown(attacker, newer), "")
    refused(attacker.step("alder", SURVEY), "site 'alder'")
    refused(attacker.say("alder", attacker.invitation), "site 'alder'")


def pin(local: LocalFederation, key: bytes) -> None:
    (local.home("alder").path / "policy.toml").write_text(f'{FREE}[aggregation.peer_keys]\ncedar = "{key.hex()}"\n')


@pytest.mark.parametrize("change", ["without", "rekeyed"])
def test_a_roster_that_changes_a_pinned_peer_is_refused_with_the_rule(
    local: LocalFederation, attacker: Attacker, change: str
) -> None:
    """The holder of the root gives a hospital's name to a key of its own, or drops that hospital."""
    pin(local, attacker.federation.roster.identity("cedar"))
    assert isinstance(shown(attacker, attacker.federation.signed_roster, run="before"), Joined)
    reply = shown(attacker, next_roster(attacker, entries=entries(attacker, **{change: "cedar"})))
    assert isinstance(reply, Refused)
    assert (reply.rule, reply.passing) == ("aggregation.peer_keys", False)
    assert Rounds(local.home("alder").path / "rounds.sqlite").run("later") is None


def test_a_peer_pinned_after_the_join_counts_for_the_next_round(local: LocalFederation, attacker: Attacker) -> None:
    pin(local, Identity.generate().public)
    reply = attacker.step("alder", SURVEY)
    assert isinstance(reply, Refused)
    assert (reply.rule, reply.passing) == ("aggregation.peer_keys", False)


def test_a_run_signed_by_an_operator_who_was_replaced_stops(attacker: Attacker) -> None:
    operator = Identity.generate()
    newer = next_roster(attacker, operator=operator.public)
    other = Attacker(attacker.federation, attacker.sites, attacker.study, run="later")
    assert isinstance(other.say("alder", signed(other, operator, newer)), Joined)
    refused(attacker.step("alder", SURVEY), "operator", "Start the run anew")


def test_a_roster_that_expired_ends_its_run(attacker: Attacker, monkeypatch: pytest.MonkeyPatch) -> None:
    expired = attacker.federation.roster.valid_until + 1
    monkeypatch.setattr("client.agreement.time.time", lambda: expired)
    refused(attacker.step("alder", SURVEY), "roster 1", "expected valid at")


@pytest.mark.parametrize("damage", [b"", b"\x80", b"not a roster"])
def test_a_damaged_file_of_the_newest_roster_stops_the_site_and_is_no_way_back(
    local: LocalFederation, attacker: Attacker, damage: bytes
) -> None:
    (local.home("alder").path / "roster.bin").write_bytes(damage)
    refused(attacker.step("alder", SURVEY), "roster.bin")
    refused(shown(attacker, attacker.federation.signed_roster), "roster.bin")


def test_a_roster_of_another_root_in_its_file_is_not_believed(local: LocalFederation, attacker: Attacker) -> None:
    forged = foreign_root(attacker, "alder").roster
    (local.home("alder").path / "roster.bin").write_bytes(pack(forged))
    refused(attacker.step("alder", SURVEY), "roster.bin")


def test_a_run_goes_on_under_a_newer_roster_with_its_own_key(local: LocalFederation, attacker: Attacker) -> None:
    """As a coordinator does that was started anew after a hospital was added."""
    newer = next_roster(attacker, entries=entries(attacker, added="dogwood"))
    again = attacker.say("alder", under(attacker, newer))
    assert isinstance(again, Joined)
    assert again.record.public_key == attacker.records["alder"].public_key
    assert again.record.roster_hash == newer.digest()
    assert attacker.say("alder", under(attacker, newer)) == again
    refused(attacker.step("alder", SURVEY), "as joined")  # plans of the old roster are over at this site


def test_a_run_resumes_after_a_hospital_was_added(
    local: LocalFederation, changed: Callable[[str, str], Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.attempts, "REJOIN_S", 0.0)
    study = changed("rounds = 2", "rounds = 3")
    study = replace(study, federation=replace(study.federation, timeout_s=0.1))
    broken = LocalLink(local.sites(), {Moment(node, "train", 2): lost for node in (0, 1, 2)})
    first, _ = local.run(broken, study)
    assert (first.status, first.checkpoint.memory.round) == ("stopped", 1)
    keys = {entry.name: entry.identity for entry in local.federation.roster.entries}
    local.federation.enroll({**keys, "dogwood": Identity.generate().public})
    second, result = local.run(LocalLink(local.sites()), study, resume=True)
    assert (second.status, second.checkpoint.memory.round) == ("finished", 3)
    assert result.sites.contributed[-1] == ("alder", "birch", "cedar")


def test_a_site_takes_up_its_next_identity_when_the_roster_lists_it(attacker: Attacker, local: LocalFederation) -> None:
    home = Home(local.home("alder").path)
    coming, before = make_next_identity(home.path).public, home.identity.public
    rotated = tuple(
        replace(entry, identity=coming) if entry.name == "alder" else entry
        for entry in attacker.federation.roster.entries
    )
    newer = next_roster(attacker, entries=rotated)
    assert isinstance(shown(attacker, newer), Joined)
    assert home.identity.public == coming != before
    refused(attacker.step("alder", SURVEY), "site 'alder'", "its key was replaced since")


def test_a_roster_of_another_root_rotates_no_key(attacker: Attacker, local: LocalFederation) -> None:
    home = local.home("alder")
    make_next_identity(home.path)
    before = home.identity.public
    refused(attacker.say("alder", foreign_root(attacker, "alder")), "signature for konsil/roster/v1")
    assert home.identity.public == before
