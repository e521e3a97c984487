"""Who belongs to the federation, which invites are out, and until when everything holds."""

import sys
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from server.certificates import expiry
from server.commands.federation import HERE, DirOption, opened
from server.home import ServerHome
from server.invitations import Invitations
from shared.enrolment import authority_digest, fingerprint, utc

#: What lapses sooner is shown in red.
SOON = timedelta(days=30)
#: An invite holds two weeks to begin with.
SOON_INVITE = timedelta(days=3)


@dataclass(frozen=True)
class Line:
    """One thing that may lapse. `fingerprint`: what the hospital's own `konsil-client fingerprint` shows; `identity`:
    its key in hex, as another hospital pins it by `aggregation.peer_keys`."""

    kind: Literal["hospital", "invite", "roster", "certificate", "authority"]
    name: str
    expires: datetime
    #: "ok", "soon" (see SOON) or "lapsed"
    state: str
    fingerprint: str = ""
    identity: str = ""


def members(
    folder: DirOption = HERE,
    json: Annotated[bool, typer.Option("--json", help="One JSON line each on stdout, nothing else.")] = False,
) -> None:
    """List hospitals, invites, certificates and the roster, with the day each lapses; red within 30 days."""
    lines = lines_of(opened(folder), ServerHome(folder), utc(time.time()))
    if json:
        for line in lines:
            sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
        return
    table = Table("what", "name", "holds until", "fingerprint", title="Federation")
    for line in lines:
        style = "" if line.state == "ok" else "bold red"
        until = f"{line.expires:%Y-%m-%d}" + ("" if line.state == "ok" else f" {line.state}")
        table.add_row(line.kind, line.name, Text(until, style), line.fingerprint)
    Console().print(table)
    if any(line.state != "ok" and line.kind in ("roster", "certificate", "hospital") for line in lines):
        Console().print(Text("konsil-server renew makes certificate and roster hold again", "bold red"))


def lines_of(invitations: Invitations, home: ServerHome, now: datetime) -> list[Line]:
    """Everything that may lapse, as of `now`. A hospital holds as long as the roster that lists it."""
    federation = invitations.federation
    roster = federation.latest_roster
    until, root = utc(roster.valid_until), federation.root_public.hex()
    authority = authority_digest(invitations.authority)
    found = [Line("roster", f"version {roster.version}", until, _state(until, now))]
    for kind, file in (("certificate", "server.pem"), ("authority", "ca.pem")):
        end = expiry((home.tls / file).read_bytes())
        found.append(Line("certificate" if kind == "certificate" else "authority", file, end, _state(end, now)))
    for entry in roster.entries:
        digits = fingerprint(
            root, authority, entry.name, entry.identity.hex(), entry.node_key.decode("utf-8", "replace")
        )
        found.append(Line("hospital", entry.name, until, _state(until, now), digits, entry.identity.hex()))
    for ticket in invitations.tickets():
        end = utc(ticket.expires)
        found.append(Line("invite", ticket.name, end, _state(end, now, SOON_INVITE)))
    return found


def _state(expires: datetime, now: datetime, soon: timedelta = SOON) -> str:
    if expires < now:
        return "lapsed"
    return "soon" if expires < now + soon else "ok"
