"""The host of the coordinator: ports, disk, memory, database, folders."""

import errno
import os
import socket
import sqlite3
import ssl
from pathlib import Path

from server.checks.context import Context
from shared.accounts import account, may, owner
from shared.checks import Check, fail, ok, warn
from shared.machine import GIB, disk_check, memory_check
from shared.network_size import parameters_of
from shared.probe import Address, shown_by

BASE_MEMORY, BASE_DISK = GIB, 5 * GIB
#: Model-sized arrays in memory: weights, their average, the masked sum, one message in and one out.
COPIES = 5


def fleet_port(context: Context) -> Check:
    """The port hospitals dial is free, or answers with our certificate."""
    return _port(context, context.config.bind, context.config.port)


def control_port(context: Context) -> Check:
    """Flower's own port, on loopback, likewise."""
    return _port(context, "127.0.0.1", context.config.control_port)


def web_port(context: Context) -> Check:
    """The operator's page likewise."""
    return _port(context, context.config.web_bind, context.config.web_port)


def _port(context: Context, bind: str, port: int) -> Check:
    try:
        family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((bind, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return _taken(context, bind, port)
        return fail(f"{bind}:{port}: {error.strerror}", "Correct server.toml, or the address of this host.")
    return ok(f"{bind}:{port} is free")


def _taken(context: Context, bind: str, port: int) -> Check:
    """Whoever answers there: ours if it shows a certificate of our authority for our host."""
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind, bind)  # noqa: S104  compared, not bound
    try:
        shown = shown_by(Address(here, port), context.home.tls / "ca.pem", context.timeout_s, name=context.config.host)
    except (ssl.SSLError, OSError):
        shown = None
    if shown is not None and not shown.problem:
        return ok(f"{bind}:{port} answers as this coordinator")
    do = f"Find out what listens there (ss -ltnp 'sport = :{port}'); stop it or choose another port in server.toml."
    return fail(f"{bind}:{port} is taken by something that does not show our certificate", do)


def memory(context: Context) -> Check:
    """Room for the SuperLink and, with a study, for the sum of its model."""
    return memory_check(BASE_MEMORY + (4 * COPIES * parameters_of(context.study) if context.study else 0))


def disk(context: Context) -> Check:
    """Room for databases and, with a study, for checkpoints and the messages under way, per hospital one each way."""
    needed, what = BASE_DISK, "databases, reports, models"
    if context.study is not None:
        hospitals = max(context.study.federation.min_sites, _hospitals(context))
        needed += 4 * parameters_of(context.study) * (2 * hospitals + 4)
        what += f", messages of {hospitals} hospitals"
    return disk_check(context.home.path, needed, what)


def _hospitals(context: Context) -> int:
    return len(context.home.federation.roster.entries)


def database(context: Context) -> Check:
    """The history takes a write transaction (rolled back at once), or can be made."""
    path = context.home.history
    if not path.exists():
        return _writable(context, {"the folder": context.home.path})
    try:
        connection = sqlite3.connect(path, timeout=context.timeout_s, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        finally:
            connection.close()
    except sqlite3.Error as error:
        if "locked" in str(error):
            return warn("in use by another process", "Look again in a minute.")
        do = "Check disk space and permissions; restore history.sqlite from the backup if it is damaged."
        return fail(str(error), do)
    return _writable(context, {"history.sqlite": path})


def registry(context: Context) -> Check:
    """Runs and models can be written by the coordinator's user."""
    folders = {"runs": context.home.runs, "models": context.home.models}
    there = {name: path for name, path in folders.items() if path.exists()} or {"the folder": context.home.path}
    return _writable(context, there)


def _writable(context: Context, places: dict[str, Path]) -> Check:
    who = account(str(context.home.path.stat().st_uid))
    answers = may(who, list(places.values()), os.W_OK)
    denied = [place for place, allowed in zip(places, answers, strict=True) if not allowed]
    if denied:
        do = f"chown it to {owner(context.home.path)}; check that the file system is not read-only."
        return fail(f"{who.name} may not write {', '.join(denied)}", do)
    return ok(f"writable by {who.name}")
