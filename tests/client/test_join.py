import os
import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from client.agreement import open_agreement
from client.commands.join import default_policy_text, fingerprint, join
from client.commands.rotate import rotate
from client.enrolment import last_request, request_path
from client.home import Home, make_keys
from client.node_home import NodeHome
from client.policy import Policy
from server.commands.federation import admit, init, invite
from server.federation import Federation
from shared.crypto.identity import Identity
from shared.crypto.node_key import public_form
from shared.enrolment import (
    Invite,
    JoinRequest,
    RotationRequest,
    authority_digest,
    fingerprint_of,
    read_request,
    to_text,
    utc,
    verify_join,
    verify_rotation,
)
from shared.errors import InputError, KonsilError, SiteError
from shared.study import MINIMAL, parse_study
from shared.toml import parse_toml

TOKEN = b"t" * 32
INVITE = Invite(
    name="north",
    coordinator="konsil.example:9092",
    root=Identity.generate().public.hex(),
    token=TOKEN.hex(),
    expires=utc(4_000_000_000),
    authority="-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
)


class House:
    """A hospital's disk: an archive, an invite, and where join puts things."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.archive = folder, folder / 'arch "ive"'
        self.archive.mkdir()
        self.home, self.node = Home(folder / "konsil"), NodeHome(folder / "konsil-node")

    def invite(self, **changes: object) -> Path:
        path = self.folder / "north.invite"
        path.write_text(to_text(replace(INVITE, **changes), "for people"))
        return path

    def join(self, **changes: object) -> None:
        join(self.invite(**changes), self.archive, home=self.home.path, single_user=True)

    def keys(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in [*(self.home.path / "keys").iterdir(), self.node.key]}


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def request(house: House) -> JoinRequest | RotationRequest:
    path = request_path(house.home)
    return read_request(path.read_bytes(), path.name)


def test_join_makes_everything_the_daemon_needs(house: House) -> None:
    house.join()
    site, node = house.home.config, house.node.config
    assert (site.name, house.home.archive) == ("north", house.archive)
    assert house.home.labels == house.archive / "labels.csv"
    assert site.daemon.single_user
    assert (node.site, node.coordinator) == ("north", "konsil.example:9092")
    assert node.socket == str(house.folder / "konsil-run" / "agent.sock")
    assert house.node.authority.read_text() == INVITE.authority
    assert house.home.root_public.hex() == INVITE.root
    assert house.home.policy == Policy()


def test_only_their_owners_read_the_folders(house: House) -> None:
    house.join()
    modes = {path: path.stat().st_mode & 0o777 for path in (house.home.path, house.node.path, house.node.key)}
    assert modes == {house.home.path: 0o700, house.node.path: 0o700, house.node.key: 0o600}
    assert (house.folder / "konsil-run").stat().st_mode & 0o777 == 0o711
    for path in (house.home.path / "keys").iterdir():
        assert path.stat().st_mode & 0o077 == 0


def test_the_request_proves_the_invite_and_shows_no_secret(house: House) -> None:
    house.join()
    made = request(house)
    assert isinstance(made, JoinRequest)
    verify_join(made, TOKEN)
    assert made.identity == house.home.identity.public.hex()
    assert made.node_key == public_form(house.node.key.read_bytes())
    assert made.authority == authority_digest(INVITE.authority)
    text = request_path(house.home).read_text()
    for secret in (TOKEN, house.home.archive_key, house.home.identity.private_bytes()):
        assert secret.hex() not in text


def test_a_second_join_keeps_keys_and_what_people_wrote(house: House) -> None:
    house.join()
    keys, first = house.keys(), request(house)
    (house.home.path / "policy.toml").write_text("[privacy]\nepsilon_total = 1.0\n")
    house.join()
    assert (house.keys(), request(house)) == (keys, first)
    assert house.home.policy.privacy.epsilon_total == 1.0


def test_another_coordinator_or_authority_is_taken_over_only_when_asked(house: House) -> None:
    """An attacker who knows the root's public key sends a second invite, to an address of its own."""
    house.join()
    keys = house.keys()
    changes = {"coordinator": "moved.example:9092", "authority": INVITE.authority.replace("MIIB", "MIIC")}
    join(house.invite(**changes), house.archive, home=house.home.path, single_user=True, again=True)
    assert house.keys() == keys
    assert house.node.config.coordinator == "moved.example:9092"
    assert house.node.authority.read_text() == changes["authority"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"expires": utc(1_000_000_000)}, "ended on 2001-09-09"),
        ({"name": "south"}, "Use another --home"),
        ({"root": "ab" * 32}, "the invite may be forged"),
        ({"coordinator": "evil:1"}, "coordinator evil:1 instead of konsil.example:9092.*--again"),
        ({"authority": INVITE.authority.replace("MIIB", "MIIC")}, r"another authority than ca\.pem.*--again"),
    ],
)
def test_an_invite_that_does_not_fit_changes_nothing(house: House, changes: dict[str, object], told: str) -> None:
    house.join()
    before = {path: path.read_bytes() for path in house.folder.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=told):
        house.join(**changes)
    before[house.folder / "north.invite"] = house.invite(**changes).read_bytes()
    assert {path: path.read_bytes() for path in house.folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("stop", range(9))
def test_a_join_stopped_at_any_file_is_completed_by_the_next(
    house: House, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    done: list[int] = []

    def sync(handle: int) -> None:
        if len(done) >= stop * 2:  # a file and its folder each
            raise OSError(28, "No space left on device")
        done.append(handle)

    with monkeypatch.context() as patch:
        patch.setattr("shared.files.os.fsync", sync)
        with pytest.raises(SiteError):
            house.join()
    kept = {path.name: path.read_bytes() for path in house.folder.rglob("*.key")}
    house.join()
    assert kept.items() <= house.keys().items()
    made = request(house)
    assert isinstance(made, JoinRequest)
    verify_join(made, TOKEN)


@pytest.mark.parametrize("which", ["home", "node"])
def test_a_folder_with_other_files_is_not_taken_over(house: House, which: str) -> None:
    folder = {"home": house.home.path, "node": house.node.path}[which]
    folder.mkdir(mode=0o755)
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="a new or empty folder"):
        house.join()
    assert folder.stat().st_mode & 0o777 == 0o755


def test_a_scanned_home_may_join(house: House) -> None:
    public = make_keys(house.home.path)
    house.join()
    assert house.home.identity.public == public


def test_the_socket_may_be_in_a_folder_of_others(house: House) -> None:
    run = house.folder / "run"
    run.mkdir(mode=0o755)
    join(house.invite(), house.archive, home=house.home.path, socket=run / "konsil.sock", single_user=True)
    assert run.stat().st_mode & 0o777 == 0o755
    with pytest.raises(InputError, match="a shorter path"):
        join(house.invite(), house.archive, home=house.home.path, socket=run / ("x" * 108), single_user=True)


@pytest.mark.parametrize(("agent", "node", "single"), [("root", "", False), ("root", "0", False), ("1", "2", True)])
def test_two_sides_are_two_users(house: House, agent: str, node: str, single: bool) -> None:
    with pytest.raises(InputError, match="two users of this host"):
        join(house.invite(), house.archive, home=house.home.path, agent_user=agent, node_user=node, single_user=single)
    assert not house.home.path.exists()


def test_naming_users_needs_root(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.commands.join.os.geteuid", lambda: 1000)
    with pytest.raises(InputError, match="started by root"):
        join(house.invite(), house.archive, home=house.home.path, agent_user="1001", node_user="1002")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_root_gives_each_side_its_own_files_and_follows_no_link(house: House) -> None:
    def again() -> None:
        join(house.invite(), house.archive, home=house.home.path, agent_user="1001", node_user="1002")

    again()
    assert {path.stat().st_uid for path in [house.home.path, *house.home.path.rglob("*")]} == {1001}
    assert {path.stat().st_uid for path in [house.node.path, *house.node.path.rglob("*")]} == {1002}
    assert (house.folder / "konsil-run").stat().st_uid == 1001
    outside, twice = house.folder / "outside", house.folder / "twice"
    for path in (outside, twice):
        path.write_text("root's")
    (house.node.path / "node.key.next").symlink_to(outside)
    (house.home.path / "keys" / "trap").hardlink_to(twice)
    again()
    assert (outside.stat().st_uid, twice.stat().st_uid) == (0, 0)


def test_a_node_key_that_is_a_link_is_refused(house: House) -> None:
    house.join()
    house.node.key.rename(house.folder / "elsewhere")
    house.node.key.symlink_to(house.folder / "elsewhere")
    with pytest.raises(InputError, match="got a link"):
        house.join()


def test_the_fingerprint_is_shown_again(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    house.join()
    shown = fingerprint_of(request(house))
    assert shown in capsys.readouterr().out
    fingerprint(house.home.path)
    assert re.findall(r"(?:\d{5} ?){6}", capsys.readouterr().out)[0].strip() == shown


def test_without_a_join_there_is_nothing_to_show(house: House) -> None:
    with pytest.raises(KonsilError):
        fingerprint(house.home.path)
    with pytest.raises(KonsilError):
        rotate(house.home.path)


def test_the_default_policy_is_the_strict_one() -> None:
    assert parse_toml(Policy, default_policy_text(), "policy.toml") == Policy()


def test_a_rotated_identity_waits_until_a_roster_lists_it(house: House) -> None:
    house.join()
    old, first = house.home.identity.public, last_request(house.home)
    rotate(house.home.path)
    made = request(house)
    assert isinstance(made, RotationRequest)
    verify_rotation(made)
    assert (made.previous, made.node_key) == (old.hex(), first.node_key)
    assert house.home.identity.public == old
    rotate(house.home.path)
    assert request(house) == made  # made again: the same keys
    assert not house.home.adopt_identity(old)
    assert not house.home.adopt_identity(Identity.generate().public)
    assert house.home.identity.public == old
    assert house.home.adopt_identity(bytes.fromhex(made.identity))
    assert house.home.identity.public.hex() == made.identity
    assert not house.home.adopt_identity(bytes.fromhex(made.identity))
    assert not (house.home.path / "keys" / "identity.key.next").exists()


def test_a_rotated_node_key_waits_for_the_finish(house: House) -> None:
    house.join()
    old = house.node.key.read_bytes()
    rotate(house.home.path, node_key=True)
    made = request(house)
    assert house.node.key.read_bytes() == old
    assert made.node_key != public_form(old)
    rotate(house.home.path, finish=True)
    assert public_form(house.node.key.read_bytes()) == made.node_key
    assert house.node.key.stat().st_mode & 0o077 == 0
    with pytest.raises(InputError, match="Begin with"):
        rotate(house.home.path, finish=True)


def test_from_nothing_to_a_federation_that_grows_and_changes_keys(tmp_path: Path) -> None:
    server, study = tmp_path / "fed", parse_study(MINIMAL)
    init(server, "konsil.example")
    homes = {}
    for name in ("north", "south"):
        (tmp_path / name).mkdir()
        house = House(tmp_path / name)
        invite([name], server)
        join(server / "invites" / f"{name}.invite", house.archive, home=house.home.path, single_user=True)
        admit([request_path(house.home)], server, fingerprint=fingerprint_of(request(house)))
        homes[name] = house.home
        for site, home in homes.items():  # each newcomer leaves those before it in order
            open_agreement(home, Federation(server).invitation("run", study), site=site)
    old = homes["north"].identity.public
    rotate(homes["north"].path)
    open_agreement(homes["north"], Federation(server).invitation("run", study), site="north")
    assert homes["north"].identity.public == old
    admit([request_path(homes["north"])], server, yes=True)
    for site, home in homes.items():
        open_agreement(home, Federation(server).invitation("run", study), site=site)
    assert homes["north"].identity.public == Federation(server).roster.identity("north") != old
    assert Federation(server).roster.entries[0].node_key.decode() == last_request(homes["north"]).node_key
