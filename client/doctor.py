"""The doctor of a hospital: everything that must hold before a study, each thing checked and told on its own.

Changes nothing: it may run as root beside a working daemon, and does so best, because it then tries what each user may
do. The order is that in which things are put right. In containers, each side sees its own half: AGENT or NODE.
"""

from typing import Literal

from client.checks import archive, machine, network, settings, users
from client.checks.context import Context
from shared.checks import Check, examine

Side = Literal["both", "agent", "node"]

AGENT = (
    settings.site_settings,
    settings.policy_settings,
    settings.keys,
    settings.folder,
    users.separate_users,
    users.archive_hidden,
    machine.gpu,
    machine.memory,
    machine.disk,
    machine.shared_memory,
    archive.archive_readable,
    archive.labels_join,
)
NODE = (
    settings.network_settings,
    settings.network_key,
    settings.network_folder,
    network.name_resolves,
    network.port_reachable,
    network.certificate,
    network.certificate_days,
    network.clock,
    network.link_speed,
)
SIDES = {"both": (*AGENT, *NODE, users.agent_answers), "agent": AGENT, "node": NODE}


def diagnose(context: Context, side: Side = "both") -> tuple[Check, ...]:
    """Every check of `side`, in order."""
    return examine(context, SIDES[side])
