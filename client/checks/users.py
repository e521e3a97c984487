"""The two sides of a hospital are two users: the one with the network must reach nothing of the other's."""

import os

from client import frames
from client.checks.context import Context, hidden
from client.status_record import read_status
from shared.accounts import may
from shared.checks import Check, NotCheckedError, fail, ok, warn
from shared.errors import SiteError


def separate_users(context: Context) -> Check:
    """The network side's user is another one, and the kernel refuses it the agent's folder."""
    daemon = context.site.daemon
    if daemon.single_user:
        do = "Set daemon.node_user and single_user = false, so that a broken SuperNode cannot read images."
        return warn("single_user = true: both sides run as one user", do)
    if not daemon.node_user:
        return fail("daemon.node_user is not set", "Name the network side's user in site.toml.")
    agent, node = context.agent, context.network_side
    if node.uid in (0, agent.uid):
        do = "Create a user of its own for the network side (docs/deploy.md)."
        return fail(f"the network side would run as {node.name}", do)
    home = context.home.path
    secrets = [home, *(home / name for name in ("keys", "keys/identity.key", "keys/archive.key", "ledger.sqlite"))]
    if any(may(node, secrets, os.R_OK)):
        return fail(f"{node.name} can read {home}", f"chmod 700 {home} and chown it to {agent.name}.")
    return ok(f"{agent.name} and {node.name}; {node.name} cannot read {home}")


def archive_hidden(context: Context) -> Check:
    """The network side's user may not list the images either."""
    if context.site.daemon.single_user:
        return ok("not asked for with single_user = true")
    node = context.network_side
    if any(may(node, [context.archive], os.R_OK)):
        do = "Take away read permission; the service konsil-node hides it in any case."
        return warn(f"{node.name} can list the archive", do)
    return ok(f"{node.name} cannot list the archive")


def agent_answers(context: Context) -> Check:
    """The agent listens on its socket and takes part, if it is running."""
    socket = context.node.path / context.network.socket
    if hidden(socket):
        raise NotCheckedError(f"{socket.parent} may not be entered by this user")
    if not socket.exists():
        do = "Start konsil-client up (or the services konsil-agent and konsil-node)."
        return warn("not running", do)
    if os.geteuid() not in (0, context.agent.uid):
        raise NotCheckedError(f"only root and {context.agent.name} may ask the agent")
    try:
        answer = frames.ask(socket, frames.STATUS, b"", timeout_s=context.timeout_s)
    except SiteError as error:
        return fail(f"does not answer at {socket}: {error.got}", "Look at its log, then restart it.")
    status = read_status(answer)
    if status.taking_part:
        return ok("answers, and this hospital takes part")
    return warn(f"answers, but {status.why_not}", "Start the network side; look at its log.")
