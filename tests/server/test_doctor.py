"""The coordinator's doctor against real certificates, ports, databases and modes."""

import functools
import json
import os
import shutil
import socket
import sqlite3
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from server.certificates import new_authority, new_key, server_certificate
from server.checks import host, identity
from server.checks.context import Context
from server.commands.doctor import doctor
from server.doctor import diagnose
from server.federation import Federation
from server.home import ServerHome
from shared import machine
from shared.checks import Check, examine
from shared.crypto.identity import Identity
from shared.crypto.roster import Roster, sign_roster
from shared.study import MINIMAL, parse_study
from shared.wire import pack

DAY = timedelta(days=1)


@functools.cache
def authority(number: int = 0) -> tuple[bytes, bytes]:
    """Key and certificate."""
    key = new_key()
    return key, new_authority(key, datetime.now(UTC) - (400 + number) * DAY)


def certify(folder: Path, name: str = "localhost", *, since: timedelta = -DAY, days: int = 90, by: int = 0) -> None:
    """tls/server.pem and server.key in `folder`, of authority `by`; ca.pem is always that of authority 0."""
    key = new_key()
    made = server_certificate(*authority(by), key, host=name, now=datetime.now(UTC) + since, days=days)
    tls = folder / "tls"
    tls.mkdir(exist_ok=True)
    (tls / "ca.pem").write_bytes(authority(0)[1])
    (tls / "server.pem").write_bytes(made)
    (tls / "server.key").write_bytes(key)
    (tls / "server.key").chmod(0o600)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def sign(folder: Path, root: Identity, *, days: float) -> None:
    """roster.bin of one operator and no hospital."""
    now = int(time.time())
    operator = Identity.from_private_bytes((folder / "operator.key").read_bytes()).public
    until = now + int(days * 86400)
    roster = Roster(version=1, entries=(), operator=operator, valid_from=min(now, until) - 10, valid_until=until)
    (folder / "roster.bin").write_bytes(pack(sign_roster(root, roster)))


@pytest.fixture
def root() -> Identity:
    return Identity.generate()


@pytest.fixture
def coordinator(tmp_path: Path, root: Identity) -> Context:
    """A coordinator as `init` leaves it, its root already offline."""
    folder = tmp_path / "coordinator"
    folder.mkdir(mode=0o700)
    ports = [free_port() for _ in range(3)]
    (folder / "server.toml").write_text(
        f'host = "localhost"\nbind = "127.0.0.1"\nport = {ports[0]}\ncontrol_port = {ports[1]}\nweb_port = {ports[2]}\n'
    )
    (folder / "root.pub").write_bytes(root.public)
    (folder / "operator.key").write_bytes(Identity.generate().private_bytes())
    (folder / "operator.key").chmod(0o600)
    sign(folder, root, days=700)
    certify(folder)
    return Context(ServerHome(folder), timeout_s=1.0)


def one(context: Context, check: Callable[[Context], Check]) -> Check:
    (found,) = examine(context, (check,))
    return found


def test_a_good_coordinator_is_ready(coordinator: Context) -> None:
    bad = [check for check in diagnose(coordinator) if check.state != "ok"]
    assert not [check for check in bad if check.name not in ("memory", "disk", "clock")], bad


def test_every_check_answers_in_an_empty_folder(tmp_path: Path) -> None:
    checks = diagnose(Context(ServerHome(tmp_path / "none")))
    assert not [check for check in checks if "error of the doctor" in check.found]
    assert all(check.do for check in checks if check.state != "ok")


def test_settings_with_one_port_twice(coordinator: Context) -> None:
    path = coordinator.home.path / "server.toml"
    path.write_text('host = "localhost"\nport = 9092\ncontrol_port = 9092\n')
    assert one(coordinator, identity.settings).state == "fail"
    path.write_text("hots = 1\n")
    assert "hots" in one(coordinator, identity.settings).found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: certify(folder, by=1), "not signed by tls/ca.pem"),
        (lambda folder: (folder / "tls/server.key").write_bytes(new_key()), "is another certificate's"),
        (lambda folder: (folder / "tls/server.pem").write_bytes(b"junk"), "expected a certificate in PEM"),
    ],
)
def test_certificates_that_do_not_fit(coordinator: Context, change: Callable[[Path], object], words: str) -> None:
    change(coordinator.home.path)
    found = one(coordinator, identity.certificate)
    assert (found.state, words in found.found) == ("fail", True), found


def test_a_certificate_for_another_host(coordinator: Context) -> None:
    path = coordinator.home.path / "server.toml"
    path.write_text(path.read_text().replace('host = "localhost"', 'host = "konsil.example"'))
    found = one(coordinator, identity.certificate)
    assert (found.state, "but hospitals dial konsil.example" in found.found) == ("fail", True)
    certify(coordinator.home.path, "konsil.example")
    assert one(coordinator, identity.certificate).state == "ok"


@pytest.mark.parametrize(("days", "state"), [(90, "ok"), (10, "warn"), (0.5, "warn")])
def test_the_end_of_the_certificate(coordinator: Context, days: float, state: str) -> None:
    certify(coordinator.home.path, since=timedelta(), days=max(1, int(days)))
    assert one(coordinator, identity.certificate_days).state == state


def test_an_expired_certificate(coordinator: Context) -> None:
    certify(coordinator.home.path, since=-50 * DAY, days=20)
    assert one(coordinator, identity.certificate_days).state == "fail"


def test_roster(coordinator: Context, root: Identity) -> None:
    assert one(coordinator, identity.roster).state == "ok"
    sign(coordinator.home.path, root, days=5)
    assert one(coordinator, identity.roster).state == "warn"
    sign(coordinator.home.path, root, days=-1)
    assert one(coordinator, identity.roster).state == "fail"
    sign(coordinator.home.path, Identity.generate(), days=5)
    assert one(coordinator, identity.roster).state == "fail"


def test_root_keys_beside_the_online_ones(coordinator: Context) -> None:
    (coordinator.home.path / "root").mkdir()
    (coordinator.home.path / "root/ca.key").touch()
    assert one(coordinator, identity.root_apart).state == "warn"


def test_permissions(coordinator: Context) -> None:
    (coordinator.home.path / "operator.key").chmod(0o644)
    found = one(coordinator, identity.permissions)
    assert (found.state, "mode 0644" in found.found) == ("fail", True)
    (coordinator.home.path / "operator.key").chmod(0o600)
    coordinator.home.path.chmod(0o750)
    assert "mode 0750" in one(coordinator, identity.permissions).found


@contextmanager
def listening(port: int, certificate: Path | None = None, key: Path | None = None) -> Iterator[None]:
    """Something on `port`: TLS with `certificate`, or a program that hangs up."""
    listener = socket.create_server(("127.0.0.1", port))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if certificate:
        context.load_cert_chain(certificate, key)
    stop = threading.Event()

    def answer() -> None:
        while not stop.is_set():
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            with plain:
                if certificate:
                    try:
                        context.wrap_socket(plain, server_side=True).close()
                    except OSError:
                        continue

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()


def test_ports_free_ours_and_taken(coordinator: Context, tmp_path: Path) -> None:
    tls, port = coordinator.home.tls, coordinator.config.port
    assert "is free" in one(coordinator, host.fleet_port).found
    with listening(port, tls / "server.pem", tls / "server.key"):
        assert "answers as this coordinator" in one(coordinator, host.fleet_port).found
    with listening(port):
        assert one(coordinator, host.fleet_port).state == "fail"
    other = tmp_path / "other"
    other.mkdir()
    certify(other, by=1)
    with listening(port, other / "tls/server.pem", other / "tls/server.key"):
        found = one(coordinator, host.fleet_port)
    assert (found.state, "ss -ltnp" in found.do) == ("fail", True)


def test_an_address_that_is_not_this_hosts(coordinator: Context) -> None:
    path = coordinator.home.path / "server.toml"
    path.write_text(path.read_text().replace("127.0.0.1", "192.0.2.1"))
    assert one(coordinator, host.fleet_port).state == "fail"


def test_database(coordinator: Context) -> None:
    assert one(coordinator, host.database).state == "ok"
    database = sqlite3.connect(coordinator.home.history, isolation_level=None)
    database.execute("CREATE TABLE x (y)")
    assert one(coordinator, host.database).state == "ok"
    database.execute("BEGIN IMMEDIATE")
    assert one(Context(coordinator.home, timeout_s=0.1), host.database).state == "warn"
    database.close()
    coordinator.home.history.write_bytes(b"no database at all" * 100)
    assert one(coordinator, host.database).state == "fail"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_folders_that_are_not_the_owners(coordinator: Context, tmp_path: Path) -> None:
    coordinator.home.models.mkdir(mode=0o700)
    assert one(coordinator, host.registry).state == "ok"
    os.chown(coordinator.home.path, 65533, 65533)
    assert one(coordinator, host.registry).state == "fail"


def test_a_study_asks_for_more_disk_and_memory(coordinator: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Context(coordinator.home, parse_study(MINIMAL))
    assert "messages of 2 hospitals" in one(asked, host.disk).found
    monkeypatch.setattr(machine, "free_memory", lambda: 1)
    assert one(asked, host.memory).state == "fail"


@pytest.mark.parametrize(("answer", "state"), [("echo no", "warn"), ("echo yes", "ok"), ("exit 1", "ok")])
def test_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, state: str) -> None:
    tool = tmp_path / "timedatectl"
    tool.write_text(f"#!/bin/sh\n{answer}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert shutil.which("timedatectl") == str(tool)
    assert machine.clock().state == state


def test_the_command(coordinator: Context) -> None:
    app = typer.Typer()
    app.command()(doctor)
    done = CliRunner().invoke(app, ["--dir", str(coordinator.home.path), "--json"])
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(diagnose(coordinator))
    assert done.exit_code == int(any(line["state"] == "fail" for line in lines))
    assert Federation(coordinator.home.path)._key("operator.key").hex() not in done.stdout
