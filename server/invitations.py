"""Invites that are out, and what came back: from a one-time token to an entry in the roster.

invites/NAME.invite     the text that goes to the hospital
invites/NAME.token      what is kept of it: the token, until when it holds, and the one request it was used for

Rules of `examine`, each a clear error:
1. The request names this federation's root and authority: else the invite was altered on its way.
2. A join: the hospital has an open invite, not expired, and the request's proof was made with its token.
3. A token serves one request: once used for one, it is void for every other, even if the machine stops in between.
4. A rotation: the roster lists the identity it replaces, and that identity signed it.
5. The request is signed by the identity it wants listed.
"""

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta
from msgspec.structs import replace

from server.federation import Federation
from shared.crypto.roster import RosterEntry
from shared.crypto.secret import SecretRecord
from shared.enrolment import (
    TOKEN_BYTES,
    Invite,
    JoinRequest,
    RotationRequest,
    authority_digest,
    check_name,
    root_fingerprint,
    to_text,
    utc,
    verify_join,
    verify_rotation,
)
from shared.errors import InputError, PeerError
from shared.files import private_folder, sync_folder, write_atomically
from shared.wire import digest, pack, unpack

INVITE_DAYS = 14
#: up to the end of the year 9999, the last that a date can name
UnixSeconds = Annotated[int, Meta(ge=0, lt=253_402_300_800)]


class Ticket(SecretRecord, frozen=True):
    """What the coordinator keeps of an invite. `expires` in unix seconds; `used_for`: digest of the one request."""

    name: str
    token: bytes
    expires: UnixSeconds
    used_for: bytes = b""


@dataclass(frozen=True)
class Invitations:
    """The invites of `federation`, whose hospitals dial `coordinator` (host:port) and trust `authority` (PEM)."""

    federation: Federation
    coordinator: str
    authority: str
    clock: Callable[[], float] = time.time

    @property
    def folder(self) -> Path:
        """Where invites and tokens are; for the coordinator's own user only."""
        return self.federation.path / "invites"

    def issue(self, name: str, *, days: int = INVITE_DAYS, again: bool = False) -> Path:
        """A new invite for `name`. Raises InputError for a member or a name whose invite is open, unless `again`.

        An earlier invite of that name is void from then on.
        """
        self._may_invite(check_name(name), again=again)
        private_folder(self.folder)
        token, expires = secrets.token_bytes(TOKEN_BYTES), int(self.clock()) + days * 24 * 3600
        root = self.federation.root_public.hex()
        invite = Invite(
            name=name,
            coordinator=self.coordinator,
            root=root,
            token=token.hex(),
            expires=utc(expires),
            authority=self.authority,
        )
        path = self.folder / f"{name}.invite"
        write_atomically(
            path, to_text(invite, _COMMENT.format(name=name, root=root_fingerprint(root))).encode(), mode=0o600
        )
        # last: an invite without its ticket is void and may be issued anew
        self._keep(Ticket(name=name, token=token, expires=expires))
        return path

    def ticket(self, name: str) -> Ticket | None:
        """What is kept of the invite of `name`, expired or not; None where there is none."""
        path = self._ticket_path(name)
        return unpack(Ticket, path.read_bytes()) if path.is_file() else None

    def tickets(self) -> list[Ticket]:
        """All that is kept of invites, by name."""
        found = (self.ticket(path.stem) for path in sorted(self.folder.glob("*.token")))
        return [ticket for ticket in found if ticket is not None]

    def is_open(self, ticket: Ticket) -> bool:
        """Whether the invite behind `ticket` still holds."""
        return self.clock() <= ticket.expires

    def examine(self, request: JoinRequest | RotationRequest) -> bool:
        """Whether `request` still has to be admitted: False if the roster lists exactly that. Raises on every rule."""
        self._same_federation(request)
        listed = {entry.name: entry for entry in self.federation.latest_roster.entries}.get(request.name)
        if listed == entry_of(request):
            return False
        if isinstance(request, RotationRequest):
            _examine_rotation(request, listed)
        else:
            self._examine_join(request)
        return True

    def admit(self, request: JoinRequest | RotationRequest) -> int:
        """Put the roster with `request`'s keys in force; its version. Examined anew, under the lock.

        Killed in between, the same request can be admitted again and no other can use its invite.
        """
        with self.federation.locked():
            if self.examine(request):
                roster = self.federation.with_entry(entry_of(request))
                if isinstance(request, JoinRequest):
                    self._use(request)
                self.federation.publish(roster)
            if isinstance(request, JoinRequest) and self._used_for(request):
                self.close(request.name)
            return self.federation.latest_roster.version

    def close(self, name: str) -> None:
        """Void the invite of `name`, if there is one."""
        for path in (self._ticket_path(name), self.folder / f"{name}.invite"):
            with suppress(FileNotFoundError):
                path.unlink()
                sync_folder(self.folder)

    def _may_invite(self, name: str, *, again: bool) -> None:
        if again:
            return
        if any(entry.name == name for entry in self.federation.latest_roster.entries):
            raise InputError(
                f"hospital {name}",
                expected="a name that is not a member yet",
                got="a member",
                do="New keys with the old ones at hand: konsil-client rotate. All keys lost: invite it --again.",
            )
        ticket = self.ticket(name)
        if ticket is not None and self.is_open(ticket):
            raise InputError(
                f"hospital {name}",
                expected="a name without an open invite",
                got=f"one that holds until {utc(ticket.expires):%Y-%m-%d}",
                do="To void it and make another: --again.",
            )

    def _same_federation(self, request: JoinRequest | RotationRequest) -> None:
        given = (request.root, request.authority)
        if given != (self.federation.root_public.hex(), authority_digest(self.authority)):
            raise PeerError(
                f"request of {request.name}",
                expected="this federation's root and authority",
                got="others",
                do="The hospital's invite is another federation's or was altered on its way; hand it over anew.",
            )

    def _examine_join(self, request: JoinRequest) -> None:
        ticket = self.ticket(request.name)
        if ticket is None:
            raise PeerError(
                f"request of {request.name}", expected="an open invite of that name", got="none", do=_INVITE_AGAIN
            )
        verify_join(request, ticket.token)
        if not self.is_open(ticket):
            raise PeerError(
                f"invite of {request.name}",
                expected="one that still holds",
                got=f"one that ended on {utc(ticket.expires):%Y-%m-%d}",
                do=_INVITE_AGAIN,
            )
        if ticket.used_for not in (b"", _digest(request)):
            raise PeerError(
                f"invite of {request.name}", expected="one request", got="a second, with other keys", do=_INVITE_AGAIN
            )

    def _use(self, request: JoinRequest) -> None:
        ticket = self.ticket(request.name)
        if ticket is not None:
            self._keep(replace(ticket, used_for=_digest(request)))

    def _used_for(self, request: JoinRequest) -> bool:
        ticket = self.ticket(request.name)
        return ticket is not None and ticket.used_for == _digest(request)

    def _keep(self, ticket: Ticket) -> None:
        write_atomically(self._ticket_path(ticket.name), pack(ticket), mode=0o600)

    def _ticket_path(self, name: str) -> Path:
        return self.folder / f"{check_name(name)}.token"


def entry_of(request: JoinRequest | RotationRequest) -> RosterEntry:
    """What the roster lists once `request` is admitted."""
    return RosterEntry(name=request.name, identity=bytes.fromhex(request.identity), node_key=request.node_key.encode())


def _examine_rotation(request: RotationRequest, listed: RosterEntry | None) -> None:
    if listed is None or listed.identity.hex() != request.previous:
        raise PeerError(
            f"request of {request.name}",
            expected="one that replaces the identity in the roster",
            got="one for another identity" if listed else "no member of that name",
            do="Ask for the output of konsil-client rotate, made with the keys now in force.",
        )
    verify_rotation(request)


def _digest(request: JoinRequest) -> bytes:
    return digest("konsil/invite-used-for/v1", request)


_INVITE_AGAIN = "Invite the hospital again with --again and ask for a new request."

_COMMENT = """\
Konsil: invite for {name}. It holds a secret: hand it to this hospital alone, and delete it when it was used.
The hospital runs: konsil-client join THIS-FILE --archive FOLDER
It shows the federation's fingerprint, from what is below; compare that by telephone. It should be
    {root}
"""
