"""konsil-client join, fingerprint: from the consortium's invite to a request that it can admit.

Guarantees: every key is made here and stays here; an existing key, site.toml or policy.toml is never replaced; the root
pinned first stays pinned; the coordinator's address and authority change by --again only. What a stopped join left
undone, the next one does, with the same keys.
"""

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from client.commands.daemon import DEFAULT_HOME, HomeOption, NodeHomeOption, SocketOption, beside
from client.enrolment import (
    HOME_MARKS,
    NODE_MARKS,
    check_folder,
    hand_over,
    last_request,
    node_key_at,
    write_request,
)
from client.home import DaemonConfig, Home, SiteConfig, make_keys
from client.node_home import NodeHome
from shared.accounts import account
from shared.enrolment import (
    LIMIT,
    Invite,
    fingerprint_of,
    join_request,
    quoted,
    read_invite,
    root_fingerprint,
    utc,
)
from shared.errors import InputError
from shared.files import private_folder, write_atomically

#: sun_path of unix(7), without its closing zero.
SOCKET_BYTES = 107


def join(
    invite: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The file the consortium handed over.")],
    archive: Annotated[Path, typer.Option(exists=True, file_okay=False, help="The DICOM archive, read only.")],
    labels: Annotated[Path | None, typer.Option(help="The label file. [ARCHIVE/labels.csv]")] = None,
    *,
    home: HomeOption = DEFAULT_HOME,
    node_home: NodeHomeOption = None,
    socket: SocketOption = None,
    agent_user: Annotated[str, typer.Option(help="User of the side with the images.")] = "",
    node_user: Annotated[str, typer.Option(help="User of the network side, another.")] = "",
    single_user: Annotated[bool, typer.Option("--single-user", help="Both sides as one user: weaker.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Take over another address or authority.")] = False,
) -> None:
    """Join a federation: make this hospital's keys and files, and the request that goes back to the consortium."""
    with invite.open("rb") as file:
        given = read_invite(file.read(LIMIT + 1), invite.name)
    folder = Home(home.expanduser().resolve())
    node = NodeHome((node_home or beside(home, "node")).expanduser().resolve())
    default_run = beside(folder.path, "run")
    at = (socket or default_run / "agent.sock").expanduser().resolve()
    images = archive.resolve()
    wanted = SiteConfig(
        name=given.name,
        archive=str(images),
        labels=str((labels or images / "labels.csv").resolve()),
        daemon=DaemonConfig(agent_user=agent_user, node_user=node_user, single_user=single_user),
    )
    _check_invite(folder, given)
    if not again:
        _check_same(node, given)
    _check_daemon(wanted.daemon, at)
    _check_labels(labels)
    check_folder(folder.path, HOME_MARKS)
    check_folder(node.path, NODE_MARKS)
    shared = [at.parent] if at.parent == default_run or not at.parent.exists() else []  # never /run itself
    _write_home(folder, given, wanted)
    key = _write_node(node, given, at, shared)
    written = write_request(folder, join_request(given, folder.identity, key))
    hand_over(folder, node, *shared)
    _tell(folder, written, given, wanted)


def fingerprint(home: HomeOption = DEFAULT_HOME) -> None:
    """Print again what to compare with the consortium by telephone."""
    request = last_request(Home(home.expanduser().resolve()))
    typer.echo(f"{request.name}: {fingerprint_of(request)}")
    typer.echo(f"the federation's own: {root_fingerprint(request.root)}")


def default_policy_text() -> str:
    """The policy.toml that join writes: the strict defaults of client/policy.py, in words."""
    return _POLICY


def _check_invite(home: Home, invite: Invite) -> None:
    if invite.expires < utc(time.time()):
        raise InputError(
            f"invite of {invite.name}",
            expected="one that still holds",
            got=f"one that ended on {invite.expires:%Y-%m-%d}",
            do="Ask the consortium for another, and check this host's clock.",
        )
    if (home.path / "site.toml").exists() and home.config.name != invite.name:
        raise InputError(
            f"invite of {invite.name}",
            expected=f"one for {home.config.name}, as {home.path} joined",
            got=f"one for {invite.name}",
            do="Use another --home.",
        )
    if (home.path / "root.pub").exists() and home.root_public.hex() != invite.root:
        raise InputError(
            f"invite of {invite.name}",
            expected="the federation this hospital has pinned",
            got="another root",
            do="Call the consortium: the invite may be forged. Another federation needs another --home.",
        )


def _check_same(node: NodeHome, invite: Invite) -> None:
    """Raise InputError if `invite` would send this hospital elsewhere than it was sent before."""
    config, authority = node.path / "node.toml", node.authority
    changes = []
    if config.exists() and (before := node.config.coordinator) != invite.coordinator:
        changes.append(f"coordinator {invite.coordinator} instead of {before}")
    if authority.exists() and authority.read_bytes() != invite.authority.encode():
        changes.append("another authority than ca.pem")
    if changes:
        raise InputError(
            f"invite of {invite.name}",
            expected="the coordinator and authority this hospital joined with",
            got=" and ".join(changes),
            do="Call the consortium; if they moved, join with this invite and --again.",
        )


def _check_daemon(daemon: DaemonConfig, socket: Path) -> None:
    users = (daemon.agent_user, daemon.node_user)
    if len(os.fsencode(socket)) > SOCKET_BYTES:
        raise InputError(f"--socket {socket}", expected=f"at most {SOCKET_BYTES} bytes", do="Choose a shorter path.")
    if not any(users):
        return
    if daemon.single_user or not all(users) or account(users[0]).uid == account(users[1]).uid:
        raise InputError(
            "--agent-user and --node-user",
            expected="two users of this host, or --single-user alone",
            got=f"{users[0]!r} and {users[1]!r}" + (" with --single-user" if daemon.single_user else ""),
            do="The network side must not be the user that reads the images.",
        )
    if os.geteuid() != 0:
        raise InputError("--agent-user", expected="to be started by root, who can give files away", do="Use sudo.")


def _check_labels(labels: Path | None) -> None:
    if labels is not None and not labels.is_file():
        raise InputError(f"--labels {labels}", expected="a file", got="none", do="Check the path.")


def _write_home(home: Home, invite: Invite, wanted: SiteConfig) -> None:
    private_folder(home.path)
    make_keys(home.path)
    for name, content in (
        ("root.pub", bytes.fromhex(invite.root)),
        ("policy.toml", default_policy_text().encode()),
        ("site.toml", _site_toml(wanted).encode()),
    ):
        if not (home.path / name).exists():
            write_atomically(home.path / name, content)


def _site_toml(site: SiteConfig) -> str:
    return _SITE.format(
        name=quoted(site.name),
        archive=quoted(site.archive),
        labels=quoted(site.labels),
        agent=quoted(site.daemon.agent_user),
        node=quoted(site.daemon.node_user),
        single="true" if site.daemon.single_user else "false",
    )


def _write_node(node: NodeHome, invite: Invite, socket: Path, shared: list[Path]) -> str:
    """The network side's folder and the socket's; the public form of the node key."""
    private_folder(node.path)
    for path in shared:
        private_folder(path, 0o711)  # the network side goes through, it does not look around
    key = node_key_at(node.key)
    write_atomically(node.authority, invite.authority.encode())
    lines = {"site": invite.name, "coordinator": invite.coordinator, "socket": str(socket)}
    text = "".join(f"{name} = {quoted(value)}\n" for name, value in lines.items())
    write_atomically(node.path / "node.toml", text.encode())
    return key


def _tell(home: Home, written: Path, invite: Invite, wanted: SiteConfig) -> None:
    request = last_request(home)
    typer.echo(f"{invite.name}: keys and configuration in {home.path}")
    typer.echo(f"Send {written} to the consortium; nothing in it is secret. Then compare by telephone:")
    typer.echo(f"    this hospital's fingerprint: {fingerprint_of(request)}")
    typer.echo(f"    the federation's:            {root_fingerprint(invite.root)}")
    site, daemon = home.config, home.config.daemon
    if (site.archive, site.labels, daemon) != (wanted.archive, wanted.labels, wanted.daemon):
        typer.echo(f"site.toml was there and is kept; it differs from the options given: archive {site.archive}")
    if not home.labels.is_file():
        typer.echo(f"Not there yet: the label file {site.labels}")
    if not daemon.single_user and not (daemon.agent_user and daemon.node_user):
        typer.echo(f"Before konsil-client up, name two users in {home.path / 'site.toml'}, or set single_user = true.")


_SITE = """\
# This hospital. A relative path counts from this folder.
name = {name}
archive = {archive}
labels = {labels}
threads = 1
device = "cpu"              # or "cuda"

[daemon]
# Two users, so that whoever takes over the network side cannot read images or keys.
agent_user = {agent}
node_user = {node}
single_user = {single}         # true: both sides as one user, without that protection
"""

_POLICY = """\
# This hospital's rules. No study overrides them; what is left out has the strict value shown here.

[privacy]
epsilon_total = 8.0         # the most any patient may ever spend, over all studies
epsilon_per_study = 8.0     # and in one study
delta = 1e-5
least = "distributed"       # "local": rests on no other hospital's noise; "off": also without privacy

[aggregation]
min_cohort = 3              # sums over fewer hospitals are refused
adversary = "active"        # masks hold against a coordinator that lies; "semi-honest": only if it keeps the rules
colluders = 1               # and though so many other hospitals work with it
# peers = ["south"]         # take part only together with these

# Hospitals pinned by their identity key: no roster may give them another or leave them out. Ask each of them for the
# `identity` line of its own NAME.request; `konsil-server members --json` shows what the roster lists.
# [aggregation.peer_keys]
# south = "64 hexadecimal digits"

[evaluation]
per_site_figures = false    # true: the report may show this hospital's own figures
per_site_counts = false     # true: and its own image counts
noise = false               # true: evaluations only with noise, counted for the patients held out
smallest_count = 5          # counts in the survey that rest on fewer patients are sent as 0
"""
