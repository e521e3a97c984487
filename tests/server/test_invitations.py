from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from msgspec.structs import replace

from server.commands.federation import admit, init, invite, opened, remove
from server.invitations import Invitations
from shared.crypto import node_key
from shared.crypto.identity import Identity
from shared.enrolment import (
    Invite,
    JoinRequest,
    Request,
    authority_digest,
    fingerprint_of,
    join_request,
    read_invite,
    rotation_request,
    to_text,
)
from shared.errors import InputError, KonsilError, PeerError, SiteError
from shared.wire import pack

DAY = 24 * 3600.0


@pytest.fixture
def invitations(tmp_path: Path) -> Invitations:
    init(tmp_path / "fed", "konsil.example")
    return opened(tmp_path / "fed")


class Hospital:
    """What a hospital's IT holds: an invite and two keys of its own."""

    def __init__(self, invitations: Invitations, name: str = "north") -> None:
        self.invite = given(invitations, name)
        self.identity, self.line = Identity.generate(), node_key.public_form(node_key.generate())

    def request(self) -> JoinRequest:
        return join_request(self.invite, self.identity, self.line)


def given(invitations: Invitations, name: str) -> Invite:
    path = invitations.folder / f"{name}.invite"
    return read_invite(path.read_bytes(), path.name)


def invited(invitations: Invitations, name: str = "north") -> Hospital:
    invitations.issue(name)
    return Hospital(invitations, name)


def saved(path: Path, request: Request) -> Path:
    path.write_text(to_text(request, ""))
    return path


def listed(invitations: Invitations) -> list[tuple[str, str]]:
    return [(entry.name, entry.identity.hex()) for entry in invitations.federation.roster.entries]


def test_an_invite_says_whom_to_dial_and_what_to_trust(invitations: Invitations) -> None:
    path = invitations.issue("north")
    invite = given(invitations, "north")
    assert (invite.name, invite.coordinator) == ("north", "konsil.example:9092")
    assert invite.root == invitations.federation.root_public.hex()
    assert authority_digest(invite.authority) == authority_digest(invitations.authority)
    for file in (path, invitations.folder / "north.token"):
        assert file.stat().st_mode & 0o077 == 0
    assert invite.token not in repr(invitations.ticket("north"))


def test_a_hospital_comes_in_once_and_its_invite_is_gone(invitations: Invitations) -> None:
    north = invited(invitations)
    assert invitations.admit(north.request()) == 2
    assert listed(invitations) == [("north", north.identity.public.hex())]
    assert invitations.federation.roster.entries[0].node_key == north.line.encode()
    assert invitations.tickets() == [] and list(invitations.folder.iterdir()) == []
    assert invitations.admit(north.request()) == 2  # the same again changes nothing


@pytest.mark.parametrize("name", ["../../etc/passwd", "north/..", ".north", "North", "", "a\nb"])
def test_a_name_that_is_a_path_is_refused(invitations: Invitations, name: str) -> None:
    with pytest.raises(InputError, match="Choose another name"):
        invitations.issue(name)
    with pytest.raises(InputError):
        invitations.close(name)
    assert not invitations.folder.exists()


def test_a_member_or_an_open_invite_is_not_invited_by_mistake(invitations: Invitations) -> None:
    north = invited(invitations)
    with pytest.raises(InputError, match="without an open invite"):
        invitations.issue("north")
    invitations.admit(north.request())
    with pytest.raises(InputError, match="not a member yet"):
        invitations.issue("north")


def test_invited_again_the_first_invite_is_void(invitations: Invitations) -> None:
    first = invited(invitations)
    invitations.issue("north", again=True)
    with pytest.raises(PeerError, match="proof by the token"):
        invitations.admit(first.request())
    second = Hospital(invitations)
    invitations.admit(second.request())
    assert listed(invitations) == [("north", second.identity.public.hex())]


def test_a_member_that_lost_its_keys_comes_back_by_a_new_invite(invitations: Invitations) -> None:
    first = invited(invitations)
    invitations.admit(first.request())
    invitations.issue("north", again=True)
    assert invitations.admit(first.request()) == 2  # replayed: nothing new, and the new invite stays open
    second = Hospital(invitations)
    invitations.admit(second.request())
    assert listed(invitations) == [("north", second.identity.public.hex())]
    with pytest.raises(PeerError, match="an open invite"):
        invitations.admit(first.request())


def test_an_expired_invite_admits_nobody_and_may_be_issued_anew(invitations: Invitations) -> None:
    north = invited(invitations)
    later = Invitations(
        invitations.federation, invitations.coordinator, invitations.authority, clock=lambda: 15 * DAY + 4e9
    )
    with pytest.raises(PeerError, match="one that still holds"):
        later.admit(north.request())
    assert listed(invitations) == []
    later.issue("north")


def thief(north: Hospital) -> JoinRequest:
    """The invite was read on its way; the thief's own keys, a true proof."""
    return join_request(north.invite, Identity.generate(), node_key.public_form(node_key.generate()))


FORGED: dict[str, Callable[[Hospital], JoinRequest]] = {
    "an identity swapped on the way": lambda north: replace(north.request(), identity="ab" * 32),
    "a node key swapped on the way": lambda north: replace(
        north.request(), node_key=node_key.public_form(node_key.generate())
    ),
    "a name not invited": lambda north: join_request(replace(north.invite, name="west"), north.identity, north.line),
    "an invited name with another's token": lambda north: join_request(
        replace(north.invite, name="south"), north.identity, north.line
    ),
    "a guessed token": lambda north: join_request(replace(north.invite, token="00" * 32), north.identity, north.line),
    "another federation's root": lambda north: join_request(
        replace(north.invite, root="ab" * 32), north.identity, north.line
    ),
    "another authority": lambda north: join_request(
        replace(north.invite, authority="other"), north.identity, north.line
    ),
}


@pytest.mark.parametrize("case", FORGED)
def test_a_forged_request_changes_nothing(invitations: Invitations, case: str) -> None:
    invitations.issue("south")
    north = invited(invitations)
    before = invitations.tickets()
    with pytest.raises(PeerError):
        invitations.admit(FORGED[case](north))
    assert listed(invitations) == []
    assert invitations.tickets() == before
    invitations.admit(north.request())


def test_a_key_of_another_member_is_refused_and_the_invite_stays_open(invitations: Invitations) -> None:
    north = invited(invitations)
    invitations.admit(north.request())
    south = invited(invitations, "south")
    for identity, line in ((north.identity, south.line), (south.identity, north.line)):
        with pytest.raises(InputError, match="listed twice"):
            invitations.admit(join_request(south.invite, identity, line))
    invitations.admit(south.request())


@pytest.mark.parametrize("step", ["federation.write_atomically", "invitations.Invitations.close"])
def test_a_stop_while_admitting_leaves_the_token_to_one_request(
    invitations: Invitations, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    north = invited(invitations)
    with monkeypatch.context() as patch:
        patch.setattr(f"server.{step}", _stopped)
        with pytest.raises(SiteError):
            invitations.admit(north.request())
    with pytest.raises(PeerError, match="a second, with other keys"):
        invitations.admit(thief(north))
    assert invitations.admit(north.request()) == 2
    assert listed(invitations) == [("north", north.identity.public.hex())]
    assert invitations.tickets() == []


def _stopped(*_: object, **__: object) -> None:
    raise SiteError("the machine stops here")


def test_keys_are_rotated_without_an_invite_and_only_once(invitations: Invitations) -> None:
    north = invited(invitations)
    invitations.admit(north.request())
    second, third = Identity.generate(), Identity.generate()
    rotation = rotation_request(north.request(), north.identity, second, north.line)
    assert invitations.admit(rotation) == 3
    assert listed(invitations) == [("north", second.public.hex())]
    invitations.admit(rotation_request(north.request(), second, third, north.line))
    with pytest.raises(PeerError, match="replaces the identity in the roster"):
        invitations.admit(rotation)  # replayed


def test_a_rotation_is_nothing_for_strangers(invitations: Invitations) -> None:
    north = invited(invitations)
    rotation = rotation_request(north.request(), north.identity, Identity.generate(), north.line)
    with pytest.raises(PeerError, match="no member of that name"):
        invitations.admit(rotation)
    invitations.admit(north.request())
    stolen = rotation_request(north.request(), Identity.generate(), Identity.generate(), north.line)
    for forged in (stolen, replace(stolen, previous=north.identity.public.hex())):
        with pytest.raises(PeerError):
            invitations.admit(forged)
    assert listed(invitations) == [("north", north.identity.public.hex())]


def test_removed_with_an_open_invite_nobody_comes_in(invitations: Invitations) -> None:
    north = invited(invitations)
    invitations.admit(north.request())
    invitations.issue("north", again=True)
    back = Hospital(invitations)
    remove("north", invitations.federation.path)
    with pytest.raises(PeerError, match="an open invite"):
        invitations.admit(back.request())


def test_the_operator_compares_fingerprints(invitations: Invitations, tmp_path: Path) -> None:
    north = invited(invitations)
    path, folder = saved(tmp_path / "n.request", north.request()), invitations.federation.path
    swapped = saved(tmp_path / "t.request", thief(north))
    digits = fingerprint_of(north.request())
    for attempt in (digits, "", digits[:-1], None):
        with pytest.raises(typer.Exit):
            admit([swapped], folder, fingerprint=attempt)
    assert listed(invitations) == []
    admit([path], folder, fingerprint=digits.replace(" ", "-"))
    assert listed(invitations) == [("north", north.identity.public.hex())]


@pytest.mark.parametrize("answer", [True, False])
def test_asked_in_a_terminal(
    invitations: Invitations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bool
) -> None:
    path = saved(tmp_path / "n.request", invited(invitations).request())
    monkeypatch.setattr("server.commands.federation.sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("server.commands.federation.typer.confirm", lambda _: answer)
    if not answer:
        with pytest.raises(typer.Exit):
            admit([path], invitations.federation.path)
    else:
        admit([path], invitations.federation.path)
    assert bool(listed(invitations)) is answer


def test_one_bad_request_does_not_hold_up_the_others(
    invitations: Invitations, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = invitations.federation.path
    invite(["north", "south"], folder)
    paths = [saved(tmp_path / f"{name}.request", Hospital(invitations, name).request()) for name in ("north", "south")]
    (tmp_path / "west.request").write_bytes(b"\xff")
    with pytest.raises(typer.Exit) as caught:
        admit([tmp_path / "west.request", *paths], folder, yes=True)
    assert caught.value.exit_code == 2
    assert "west.request: not admitted" in capsys.readouterr().err
    assert [name for name, _ in listed(invitations)] == ["north", "south"]


def test_without_the_root_key_nothing_is_admitted_or_used_up(invitations: Invitations, tmp_path: Path) -> None:
    path = saved(tmp_path / "n.request", invited(invitations).request())
    folder = invitations.federation.path
    (folder / "root").rename(tmp_path / "medium")
    with pytest.raises(KonsilError, match="--root"):
        admit([path], folder, yes=True)
    admit([path], folder, tmp_path / "medium", yes=True)
    assert len(listed(invitations)) == 1


def test_a_ticket_that_no_date_can_end_is_refused(invitations: Invitations) -> None:
    invitations.issue("north")
    path = invitations.folder / "north.token"
    ticket = invitations.ticket("north")
    assert ticket is not None
    path.write_bytes(pack(replace(ticket, expires=2**62)))
    with pytest.raises(KonsilError, match="Ticket message"):
        invitations.issue("north")
