"""konsil-client up, agent, node, status: the hospital daemon, whole or one side of it."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from client import frames
from client.home import DaemonConfig, Home
from client.node_home import NodeHome
from client.status_record import Status, Work, read_status
from shared.accounts import account
from shared.errors import InputError
from shared.supervise import Program, python, stop_on_signals, supervise
from shared.text import printable

HomeOption = Annotated[Path, typer.Option("--home", envvar="KONSIL_HOME", help="This hospital's Konsil folder.")]
NodeHomeOption = Annotated[
    Path | None, typer.Option("--node-home", envvar="KONSIL_NODE_HOME", help="The network side's. [HOME-node]")
]
SocketOption = Annotated[Path | None, typer.Option("--socket", help="The agent's socket. [HOME-run/agent.sock]")]
DEFAULT_HOME = Path("~/.konsil")
#: The longest pause before an agent that keeps dying is started again: a round waits for it.
LONGEST_S = 10.0


def beside(home: Path, what: str) -> Path:
    """The folder of `what` beside `home`."""
    home = home.expanduser().resolve()
    return home.with_name(f"{home.name}-{what}")


def up(
    home: HomeOption = DEFAULT_HOME,
    node_home: NodeHomeOption = None,
    socket: SocketOption = None,
    grace: Annotated[float, typer.Option(help="Seconds the agent may take to finish its round when stopped.")] = 120.0,
) -> None:
    """Take part: start and watch the agent and the network side until stopped."""
    path, node = home.expanduser().resolve(), node_home or beside(home, "node")
    config = Home(path).config.daemon
    users = _users(config)
    at = socket or beside(home, "run") / "agent.sock"
    _check_socket(NodeHome(node), at)
    agent_command = python("client.agent_main", str(path), str(at))
    programs = (
        Program("agent", agent_command, user=users[0], grace_s=grace, longest_s=LONGEST_S),
        Program("node", python("client.node", str(node.expanduser().resolve())), user=users[1], grace_s=15.0),
    )
    supervise(programs, stop=stop_on_signals())


def agent(home: HomeOption = DEFAULT_HOME, socket: SocketOption = None) -> None:
    """The side with the images, alone: for a service manager that starts each side as its own user."""
    at = socket or beside(home, "run") / "agent.sock"
    _become("client.agent_main", str(home.expanduser().resolve()), str(at))


def node(node_home: NodeHomeOption = None, home: HomeOption = DEFAULT_HOME) -> None:
    """The network side, alone: for a service manager that starts each side as its own user."""
    _become("client.node", str((node_home or beside(home, "node")).expanduser().resolve()))


def status(
    home: HomeOption = DEFAULT_HOME,
    socket: SocketOption = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
) -> None:
    """Is this hospital really taking part? Exit 0 if it is, 1 if not."""
    at = socket or beside(home, "run") / "agent.sock"
    data = frames.ask(at, frames.STATUS, b"", timeout_s=10.0)
    found = read_status(data)
    if json:
        sys.stdout.write(data.decode() + os.linesep)
    else:
        Console().print(_table(found))
    raise typer.Exit(0 if found.taking_part else 1)


def _users(config: DaemonConfig) -> tuple[str, str]:
    """(agent, network side); empty: this very user. Raises InputError where both would be one user without leave, or
    the network side root."""
    if config.single_user:
        return "", ""
    users = (config.agent_user, config.node_user)
    if os.getuid() != 0 or not all(users) or account(users[1]).uid in (0, account(users[0]).uid):
        raise InputError(
            "site.toml: [daemon]",
            expected="agent_user and node_user, two users, node_user not root; and root to start each side as its own",
            got=f"agent_user = {config.agent_user!r}, node_user = {config.node_user!r}, started by user {os.getuid()}",
            do="Use the systemd units, start as root, or set single_user = true to run without that protection.",
        )
    return config.agent_user, config.node_user


def _check_socket(node: NodeHome, socket: Path) -> None:
    if Path(node.config.socket) != socket:
        raise InputError(
            f"{node.path / 'node.toml'}: socket", expected=str(socket), got=node.config.socket, do="Correct it."
        )


def _become(module: str, *arguments: str) -> None:
    """Go on as that program, in this very process: the service manager's signals reach it."""
    command = python(module, *arguments)
    os.execv(command[0], command)  # noqa: S606  our own program, no shell


def _table(found: Status) -> Table:
    state = "taking part" if found.taking_part else "NOT taking part"
    table = Table(title=Text(printable(f"{found.site}: {state}")), show_header=False)
    rows = [("why not", found.why_not)] if found.why_not else []
    if found.node is not None:
        reached = found.node.coordinator
        registered = f"as node {found.node.node} with {reached} since {found.node.since}"
        rows.append(("registered", registered if found.node.registered else f"no: {found.node.trouble}"))
        rows.append(("relayed", f"{found.node.messages} messages, last {found.node.last_message or 'never'}"))
    rows += [
        ("now", _work(found.busy) if found.busy else "waiting"),
        ("last message", _work(found.last_message)),
        ("last training round", _work(found.last_round)),
        ("privacy budget", f"ε {found.budget.spent:g} of {found.budget.limit:g} at δ = {found.budget.delta:g}"),
        ("disk", f"{found.disk_free_gb} GB free"),
        ("GPU", found.gpu),
        ("agent", f"Konsil {found.software}, since {found.agent_since}"),
    ]
    for row in rows:
        table.add_row(row[0], Text(printable(row[1])))  # whatever was said to us, it is text and steers no terminal
    return table


def _work(work: Work) -> str:
    if not work.at:
        return "none"
    where = f" of {work.run}, round {work.round}" if work.run else ""
    return f"{work.what}{where}, {work.at}"
