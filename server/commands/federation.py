"""Found a federation and decide who belongs to it: init, invite, admit, remove, renew.

Every command may be repeated: what a stopped one left undone, the next one does.
"""

import sys
import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from server.certificates import (
    SERVER_DAYS,
    belongs,
    check_host,
    dialled,
    new_authority,
    new_key,
    server_certificate,
)
from server.federation import Federation, create
from server.home import ServerConfig, ServerHome
from server.invitations import INVITE_DAYS, Invitations
from shared.enrolment import LIMIT, fingerprint_of, quoted, read_request, root_fingerprint, same_fingerprint, utc
from shared.errors import InputError, KonsilError, PeerError
from shared.files import private_folder, write_atomically
from shared.text import printable

DirOption = Annotated[Path, typer.Option("--dir", envvar="KONSIL_DIR", help="The coordinator's folder.")]
RootOption = Annotated[
    Path | None, typer.Option("--root", help="Folder of root.key and ca.key; without it, root/ in the coordinator's.")
]
PortOption = Annotated[int, typer.Option(min=1, max=65535)]
HERE = Path()


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The coordinator's folder, new or empty.")],
    host: Annotated[str, typer.Option(help="The name or address that hospitals dial.")],
    *,
    port: PortOption = 9092,
    control_port: PortOption = 9093,
    web_port: PortOption = 8443,
    bind: Annotated[str, typer.Option(help="The address listened on.")] = "0.0.0.0",  # noqa: S104  hospitals dial in
) -> None:
    """Found a federation: keys, certificates, an empty roster and server.toml. Existing keys are never replaced."""
    config = ServerConfig(
        host=check_host(host), bind=check_host(bind), port=port, control_port=control_port, web_port=web_port
    )
    _check_folder(folder, config)
    federation = create(folder)
    if not (folder / "server.toml").exists():
        write_atomically(folder / "server.toml", _server_toml(config).encode(), mode=0o600)
    _certify(federation, host)
    with federation.locked():
        if not (folder / "roster.bin").exists():
            federation.publish(federation.signed(()))
    typer.echo(f"Federation in {folder}, its fingerprint: {root_fingerprint(federation.root_public.hex())}")
    if (folder / "root").exists():
        typer.echo(
            f"Now move {folder / 'root'} to a medium that is kept offline, with a copy in another place. It is needed\n"
            "to admit, remove and renew only (--root FOLDER); whoever has it can admit hospitals of their own."
        )
    typer.echo(f"Next: konsil-server invite NAME --dir {folder}")


def invite(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Hospitals: a-z, 0-9 and '-'.")],
    folder: DirOption = HERE,
    days: Annotated[int, typer.Option(min=1, max=90, help="How long the invite holds.")] = INVITE_DAYS,
    again: Annotated[bool, typer.Option("--again", help="Also for a member, or in place of an open invite.")] = False,
) -> None:
    """Write an invite for each hospital: one text file with a one-time token, to be handed to its IT privately."""
    invitations = opened(folder)
    for name in names:
        path = invitations.issue(name, days=days, again=again)
        typer.echo(f"{path}: hand it to {name} privately; it holds {days} days and for one request")
    root = root_fingerprint(invitations.federation.root_public.hex())
    typer.echo(f"The federation's fingerprint, to compare by telephone: {root}")


def admit(
    requests: Annotated[list[Path], typer.Argument(metavar="REQUEST...", exists=True, dir_okay=False)],
    folder: DirOption = HERE,
    root: RootOption = None,
    fingerprint: Annotated[
        str | None, typer.Option(help="What the hospital read out, instead of being asked; for one request.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not compare fingerprints: the files came a safe way.")] = False,
) -> None:
    """Admit hospitals: check what came back from join or rotate, compare fingerprints, sign the new roster."""
    if fingerprint is not None and (yes or len(requests) > 1):
        raise InputError("--fingerprint", expected="one request and no --yes", got=f"{len(requests)} requests")
    invitations = opened(folder, root)
    invitations.federation.root_key()
    worst = 0
    for path in requests:
        try:
            _admit_one(invitations, path, fingerprint, yes=yes)
        except KonsilError as error:  # one bad request does not hold up the others
            typer.echo(printable(f"{path.name}: not admitted: {error}"), err=True)
            worst = max(worst, error.exit_status)
    if worst:
        raise typer.Exit(worst)


def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A member.")],
    folder: DirOption = HERE,
    root: RootOption = None,
) -> None:
    """Remove a hospital from the roster. Runs that have begun go on with the roster they began with."""
    invitations = opened(folder, root)
    federation = invitations.federation
    with federation.locked():
        federation.publish(federation.without(name))
        invitations.close(name)
    typer.echo(f"{name} is no member any more (roster {federation.latest_roster.version})")


def renew(
    folder: DirOption = HERE,
    root: RootOption = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="From today.")] = SERVER_DAYS,
    operator: Annotated[
        bool, typer.Option("--operator", help="With a new operator's key: ends runs of the old one.")
    ] = False,
) -> None:
    """Renew the coordinator's certificate and the roster. Hospitals need nothing new; `up` takes it between runs."""
    home, federation = ServerHome(folder), Federation(folder, root)
    host = home.config.host
    federation.root_key()
    federation.offline("ca.key")  # both, before anything is written
    with federation.locked():
        federation.adopt_operator()  # a renewal was stopped behind its roster
        waiting = federation.coming_operator  # or before it
        coming = federation.make_operator() if operator else waiting
        roster = federation.signed(federation.latest_roster.entries, valid_s=days * 24 * 3600, operator=coming)
        _issue(federation, host, days)
        federation.publish(roster)
        federation.adopt_operator()
    typer.echo(f"certificate and roster {federation.latest_roster.version} hold for {days} days")
    if coming is not None:
        typer.echo("the operator's key was replaced: what the old one signs is refused; start running runs again")


def opened(folder: Path, root: Path | None = None) -> Invitations:
    """The invites of the federation in `folder`. Raises InputError where there is none."""
    config, authority = ServerHome(folder).config, ServerHome(folder).tls / "ca.pem"
    if not authority.is_file():
        raise InputError(str(authority), expected="the authority's certificate", do="Finish konsil-server init.")
    return Invitations(Federation(folder, root), dialled(config.host, config.port), authority.read_text("ascii"))


def _admit_one(invitations: Invitations, path: Path, fingerprint: str | None, *, yes: bool) -> None:
    with path.open("rb") as file:
        request = read_request(file.read(LIMIT + 1), path.name)
    if not invitations.examine(request):
        invitations.admit(request)  # closes its invite where a stop left it open
        typer.echo(f"{request.name}: admitted already, with these very keys")
        return
    shown = fingerprint_of(request)
    typer.echo(f"{request.name}: fingerprint {shown}")
    if fingerprint is not None and not same_fingerprint(fingerprint, shown):
        raise PeerError(
            f"fingerprint of {request.name}",
            expected=fingerprint,
            got=shown,
            do="The request or its invite was changed on the way: admit nothing, invite --again and compare anew.",
        )
    if fingerprint is None and not yes and not _confirmed(request.name):
        raise PeerError(f"fingerprint of {request.name}", expected="the hospital's own", got="no confirmation")
    typer.echo(f"{request.name}: admitted (roster {invitations.admit(request)})")


def _confirmed(name: str) -> bool:
    if not sys.stdin.isatty():
        raise InputError(
            f"fingerprint of {name}",
            expected="a comparison by telephone",
            got="nobody to ask",
            do="Run it in a terminal, or give --fingerprint with what the hospital read out.",
        )
    return typer.confirm(f"Call {name} on a number you know. Does it read out exactly these digits?")


def _check_folder(folder: Path, config: ServerConfig) -> None:
    """Raise InputError unless `folder` is new, empty, or this very federation's."""
    if folder.exists() and not folder.is_dir():
        raise InputError(str(folder), expected="a folder", got="a file", do="Choose another.")
    ours = any((folder / name).exists() for name in ("server.toml", "root.pub", "root"))
    if folder.is_dir() and not ours and any(folder.iterdir()):
        raise InputError(str(folder), expected="a new or empty folder", got="other files", do="Choose another.")
    if (folder / "server.toml").exists() and ServerHome(folder).config != config:
        raise InputError(
            str(folder / "server.toml"),
            expected="the same host, ports and addresses as given",
            got="others",
            do="Edit it instead, then konsil-server renew.",
        )


def _certify(federation: Federation, host: str) -> None:
    """Authority and coordinator's certificate, where they are missing or a stop left a pair unmatched."""
    tls, key = private_folder(federation.path / "tls"), federation.root_folder / "ca.key"
    if not (tls / "ca.pem").exists():
        if not key.exists() and not (federation.path / "roster.bin").exists():  # founded: never a second authority
            write_atomically(key, new_key(), mode=0o600)
        write_atomically(tls / "ca.pem", new_authority(federation.offline("ca.key"), utc(time.time())))
    certificate, server_key = tls / "server.pem", tls / "server.key"
    both = certificate.exists() and server_key.exists()
    if not both or not belongs(certificate.read_bytes(), server_key.read_bytes()):
        _issue(federation, host, SERVER_DAYS)


def _issue(federation: Federation, host: str, days: int) -> None:
    """A new certificate for the server's key, which is made first if it is missing."""
    tls, now = federation.path / "tls", utc(time.time())
    authority_key, authority = federation.offline("ca.key"), (tls / "ca.pem").read_bytes()
    if not (tls / "server.key").exists():
        write_atomically(tls / "server.key", new_key(), mode=0o600)
    key = (tls / "server.key").read_bytes()
    certificate = server_certificate(authority_key, authority, key, host=host, now=now, days=days)
    write_atomically(tls / "server.pem", certificate)


def _server_toml(config: ServerConfig) -> str:
    plain = msgspec.structs.asdict(config)
    lines = [f"{name} = {quoted(value) if isinstance(value, str) else value}" for name, value in plain.items()]
    return (
        "# The coordinator. After a change: restart konsil-server up; after another host, konsil-server renew first.\n"
        + ("\n".join(lines) + "\n")
    )
