"""The doctor of the coordinator: everything that must hold before a study, each thing checked and told on its own.

Changes nothing; it may run beside a working coordinator.
"""

from server.checks import host, identity
from server.checks.context import Context
from shared.checks import Check, examine
from shared.machine import clock

CHECKS = (
    identity.settings,
    identity.permissions,
    identity.certificate,
    identity.certificate_days,
    identity.roster,
    identity.root_apart,
    host.fleet_port,
    host.control_port,
    host.web_port,
    host.memory,
    host.disk,
    host.database,
    host.registry,
    clock,
)


def diagnose(context: Context) -> tuple[Check, ...]:
    """Every check, in order."""
    return examine(context, CHECKS)
