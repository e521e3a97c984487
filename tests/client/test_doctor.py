"""The hospital's doctor against a real TLS server, real files and, as root, real users."""

import functools
import json
import os
import shutil
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import typer
import uvicorn
from starlette.applications import Starlette
from typer.testing import CliRunner

from client.checks import archive, machine, network, settings, users
from client.checks.context import Context
from client.commands.doctor import doctor
from client.dicom.labels.table import read_labels
from client.dicom.scanning.catalog import Catalog
from client.dicom.scanning.scan import scan
from client.doctor import diagnose
from client.home import Home, make_keys
from client.node_home import NodeHome
from server.certificates import new_authority, new_key, server_certificate
from server.gate import Gate
from shared import accounts
from shared import machine as shared_machine
from shared.checks import Check, examine, fail, json_lines, ok, passed, render
from shared.study import MINIMAL, parse_study
from simulations.hospital import PROFILES, write_hospital

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
NOBODY = "65534"


@dataclass(frozen=True)
class Authority:
    """A certificate authority made for one test module."""

    key: bytes
    pem: bytes

    def issue(self, folder: Path, host: str = "localhost", *, since: timedelta = timedelta(), days: int = 90) -> Path:
        """A certificate and its key in one file."""
        key = new_key()
        made = server_certificate(self.key, self.pem, key, host=host, now=datetime.now(UTC) + since, days=days)
        path = folder / f"{host}{since.days}.pem"
        path.write_bytes(made + key)
        return path


@functools.cache
def authority(number: int = 0) -> Authority:
    key = new_key()
    return Authority(key, new_authority(key, datetime.now(UTC) - timedelta(days=400 + number)))


class Handler(BaseHTTPRequestHandler):
    """Answers 404 to everything; `ahead_s` moves its clock."""

    ahead_s = 0.0

    def do_GET(self) -> None:
        self.send_error(404)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_error(404)

    def date_time_string(self, timestamp: float | None = None) -> str:
        now = datetime.now(UTC).timestamp() if timestamp is None else timestamp
        return super().date_time_string(now + self.ahead_s)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Quiet(ThreadingHTTPServer):
    """A client that hangs up is no news."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@contextmanager
def coordinator(certificate: Path, *, ahead_s: float = 0.0, handler: type[Handler] = Handler) -> Iterator[int]:
    """A TLS server on loopback; gives its port."""
    server = Quiet(("127.0.0.1", 0), type("Moved", (handler,), {"ahead_s": ahead_s}))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("archive") / "birch"
    write_hospital(out, patients=4, seed=1, profile=PROFILES["birch"])
    return out


@pytest.fixture
def hospital(tmp_path: Path, images: Path) -> Context:
    """One hospital as `join` leaves it, both sides one user."""
    home, node = tmp_path / "home", tmp_path / "home-node"
    make_keys(home)
    (home / "root.pub").write_bytes(bytes(32))
    (home / "site.toml").write_text(
        f'name = "birch"\narchive = "{images}"\nlabels = "{images}/labels.csv"\n[daemon]\nsingle_user = true\n'
    )
    (home / "policy.toml").write_text("")
    node.mkdir()
    (node / "node.key").write_bytes(b"key")
    (node / "ca.pem").write_bytes(authority().pem)
    dial(node, 1)
    home.chmod(0o700)
    node.chmod(0o700)
    (node / "node.key").chmod(0o600)
    return Context(Home(home), NodeHome(node), timeout_s=2.0)


def dial(node: Path, port: int, host: str = "localhost") -> None:
    (node / "node.toml").write_text(f'site = "birch"\ncoordinator = "{host}:{port}"\nsocket = "{node.parent}/a.sock"\n')


def reaching(context: Context, port: int, host: str = "localhost") -> Context:
    """The same hospital, fresh, dialling `port`."""
    dial(context.node.path, port, host)
    return Context(context.home, context.node, context.study, context.timeout_s)


def one(context: Context, check: Callable[[Context], Check]) -> Check:
    (found,) = examine(context, (check,))
    return found


def test_a_good_hospital_is_ready_and_an_error_stops_no_other_check(hospital: Context, tmp_path: Path) -> None:
    with coordinator(authority().issue(tmp_path)) as port:
        checks = diagnose(reaching(hospital, port))
    failed = [check for check in checks if check.state == "fail"]
    assert not [check for check in failed if check.name not in ("memory", "disk")]
    (hospital.home.path / "site.toml").unlink()
    broken = diagnose(reaching(hospital, 1))
    assert len(broken) == len(checks)
    assert {check.name for check in broken if check.state == "ok"} >= {"policy settings"}
    assert all(check.do for check in broken if check.state != "ok")


def test_each_fault_of_the_certificate_has_its_own_words(hospital: Context, tmp_path: Path) -> None:
    good, other = authority(), authority(1)
    cases = {
        "expired": good.issue(tmp_path, since=timedelta(days=-100), days=50),
        "not valid yet": good.issue(tmp_path, since=timedelta(days=5)),
        "not signed by the pinned authority": other.issue(tmp_path, since=timedelta(days=-1)),
    }
    for words, certificate in cases.items():
        with coordinator(certificate) as port:
            found = one(reaching(hospital, port), network.certificate)
        assert (found.state, words in found.found) == ("fail", True), found


def test_a_certificate_for_another_name_is_refused(hospital: Context, tmp_path: Path) -> None:
    certificate = authority().issue(tmp_path, host="elsewhere.example")
    with coordinator(certificate) as port, named("konsil-other.test") as host:
        found = one(reaching(hospital, port, host=host), network.certificate)
    assert found.state == "fail"
    assert f"it is not for {host}" in found.found


@contextmanager
def named(host: str) -> Iterator[str]:
    """Let `host` resolve to loopback within this process."""
    real = socket.getaddrinfo
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            socket,
            "getaddrinfo",
            lambda name, *rest, **more: real("127.0.0.1" if name == host else name, *rest, **more),
        )
        yield host


def test_the_end_of_a_certificate_is_seen_coming(hospital: Context, tmp_path: Path) -> None:
    with coordinator(authority().issue(tmp_path, days=10)) as port:
        found = one(reaching(hospital, port), network.certificate_days)
    assert (found.state, "coordinator's 10 days" in found.found) == ("warn", True)


def test_a_good_certificate_names_its_serial_and_authority(hospital: Context, tmp_path: Path) -> None:
    with coordinator(authority().issue(tmp_path)) as port:
        found = one(reaching(hospital, port), network.certificate)
    assert found.state == "ok"
    assert "serial" in found.found
    assert "authority" in found.found


def test_closed_silent_and_plain_ports(hospital: Context, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        context = Context(hospital.home, hospital.node, timeout_s=0.3)
        silent = reaching(context, port)
        assert one(silent, network.port_reachable).state == "ok"
        found = one(silent, network.certificate)
        assert (found.state, "no answer" in found.found) == ("fail", True)
    closed = one(reaching(hospital, port), network.port_reachable)
    assert (closed.state, "Connection refused" in closed.found) == ("fail", True)
    assert "firewall" in closed.do
    for dependent in (network.clock, network.link_speed, network.certificate_days):
        assert "not checked" in one(reaching(hospital, port), dependent).found


def test_a_name_that_does_not_resolve(hospital: Context) -> None:
    found = one(reaching(hospital, 9, host="no-such-host.invalid"), network.name_resolves)
    assert (found.state, "does not resolve" in found.found) == ("fail", True)


@pytest.mark.parametrize(("ahead_s", "state"), [(0, "ok"), (-60, "warn"), (60, "warn"), (-900, "fail")])
def test_clock(hospital: Context, tmp_path: Path, ahead_s: float, state: str) -> None:
    with coordinator(authority().issue(tmp_path), ahead_s=ahead_s) as port:
        found = one(reaching(hospital, port), network.clock)
    assert found.state == state
    assert ("behind" in found.found) == (ahead_s > 0) or not ahead_s


class Slow(Handler):
    """Takes what it is sent at about half a megabyte a second."""

    def do_POST(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        for _ in range(8):
            self.rfile.read(65536)
            threading.Event().wait(0.12)
        self.send_error(404)


class Deaf(Handler):
    """Answers without reading the body, as the coordinator's gate does, and hangs up."""

    def do_POST(self) -> None:
        self.send_error(404)


def test_link_speed_is_held_against_the_study(hospital: Context, tmp_path: Path) -> None:
    study = parse_study(MINIMAL)
    with coordinator(authority().issue(tmp_path)) as port:
        fast = one(Context(hospital.home, reaching(hospital, port).node, study, 2.0), network.link_speed)
    assert fast.state == "ok"
    assert "a round's" in fast.found
    hurried = parse_study(MINIMAL.replace("min_sites = 2", "min_sites = 2\ntimeout_s = 0.000001"))
    with coordinator(authority().issue(tmp_path)) as port:
        late = one(Context(hospital.home, reaching(hospital, port).node, hurried, 2.0), network.link_speed)
    assert late.state == "fail"


def megabytes_per_s(check: Check) -> float:
    return float(check.found.split(" MB/s")[0])


def test_what_a_slow_reader_takes_is_what_counts(hospital: Context, tmp_path: Path) -> None:
    """A ratio in one run: the same bytes, once taken at once and once in small sips."""
    certificate = authority().issue(tmp_path)
    with coordinator(certificate) as port:
        fast = megabytes_per_s(one(reaching(hospital, port), network.link_speed))
    with coordinator(certificate, handler=Slow) as port:
        slow = megabytes_per_s(one(reaching(hospital, port), network.link_speed))
    assert fast > slow


def test_a_server_that_does_not_read_the_body_still_gives_an_answer(hospital: Context, tmp_path: Path) -> None:
    with coordinator(authority().issue(tmp_path), handler=Deaf) as port:
        found = one(reaching(hospital, port), network.link_speed)
    assert found.state in ("ok", "warn")
    assert "error of the doctor" not in found.found


def test_the_coordinators_own_kind_of_server(hospital: Context, tmp_path: Path) -> None:
    """uvicorn behind Konsil's gate: 404 to everything that is not Flower's, without reading the body."""
    config = uvicorn.Config(
        Gate(Starlette(), public_port=0), port=0, ssl_certfile=authority().issue(tmp_path), lifespan="off", ws="none"
    )
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        context = reaching(hospital, listener.getsockname()[1])
        found = [one(context, check) for check in (network.certificate, network.clock, network.link_speed)]
    finally:
        server.should_exit = True
        thread.join()
    assert [check.state for check in found] == ["ok", "ok", "ok"], found


def test_keys_and_folders(hospital: Context) -> None:
    assert one(hospital, settings.keys).state == "ok"
    key = hospital.home.path / "keys/identity.key"
    key.chmod(0o640)
    found = one(hospital, settings.keys)
    assert (found.state, "identity.key has mode 0640" in found.found) == ("fail", True)
    key.chmod(0o600)
    key.write_bytes(b"short")
    assert "has 5 bytes" in one(hospital, settings.keys).found
    key.unlink()
    assert "backup" in one(hospital, settings.keys).do
    hospital.home.path.chmod(0o755)
    assert "0755" in one(hospital, settings.folder).found
    hospital.node.key.chmod(0o644)
    assert one(hospital, settings.network_key).state == "fail"
    shutil.rmtree(hospital.node.path)
    assert "is not there" in one(hospital, settings.network_folder).found


def test_settings(hospital: Context) -> None:
    for check in (settings.site_settings, settings.policy_settings, settings.network_settings):
        assert one(hospital, check).state == "ok"
    (hospital.home.path / "policy.toml").write_text("[privacy]\nepsilon = 3.0\n")
    assert "privacy.epsilon" in one(hospital, settings.policy_settings).found
    (hospital.node.path / "node.toml").write_text('site = "oak"\ncoordinator = "h:1"\nsocket = "/s"\n')
    fresh = Context(hospital.home, hospital.node)
    assert "site oak" in one(fresh, settings.network_settings).found
    (hospital.node.path / "node.toml").write_text('site = "birch"\ncoordinator = "h"\nsocket = "/s"\n')
    assert "expected host:port" in one(Context(hospital.home, hospital.node), settings.network_settings).found


@pytest.fixture
def two_users(hospital: Context) -> Iterator[Context]:
    """The same hospital where other users may come near, with a network side of its own."""
    base = Path(tempfile.mkdtemp(prefix="konsil-doctor-"))
    try:
        base.chmod(0o755)
        shutil.copytree(hospital.home.path, base / "home")
        shutil.copytree(hospital.node.path, base / "home-node")
        text = (base / "home/site.toml").read_text()
        daemon = f'agent_user = "root"\nnode_user = "{NOBODY}"'
        (base / "home/site.toml").write_text(text.replace("single_user = true", daemon))
        (base / "home").chmod(0o700)
        (base / "home/keys").chmod(0o700)
        for path in (base / "home-node", base / "home-node/node.key"):
            os.chown(path, int(NOBODY), int(NOBODY))
        yield Context(Home(base / "home"), NodeHome(base / "home-node"))
    finally:
        shutil.rmtree(base)


@as_root
def test_the_network_side_really_cannot_read_the_home(two_users: Context) -> None:
    for check in (users.separate_users, settings.network_folder, settings.network_key, settings.folder):
        assert one(two_users, check).state == "ok", check
    two_users.home.path.chmod(0o755)
    found = one(two_users, users.separate_users)
    assert (found.state, "can read" in found.found) == ("fail", True)
    os.chown(two_users.node.path, 0, 0)
    assert "not writable" in one(two_users, settings.network_folder).found


@as_root
def test_an_archive_the_network_side_can_list_is_told(two_users: Context, tmp_path: Path) -> None:
    hidden = one(two_users, users.archive_hidden)
    assert hidden.state == "ok"  # below pytest's own folder, which is root's
    public = two_users.home.path.parent / "public"
    public.mkdir(mode=0o755)
    site = two_users.home.path / "site.toml"
    site.write_text(site.read_text().replace(f'archive = "{two_users.archive}"', f'archive = "{public}"'))
    assert one(Context(two_users.home, two_users.node), users.archive_hidden).state == "warn"


@as_root
def test_an_archive_the_agent_may_not_read_is_told_without_names(two_users: Context, images: Path) -> None:
    site = two_users.home.path / "site.toml"
    site.write_text(site.read_text().replace('agent_user = "root"', 'agent_user = "65533"'))
    found = one(Context(two_users.home, two_users.node), archive.archive_readable)
    assert (found.state, "may not read" in found.found) == ("fail", True)
    assert ".dcm" not in found.found + found.do


def test_users_who_are_one_or_none(hospital: Context) -> None:
    assert one(hospital, users.separate_users).state == "warn"
    site = hospital.home.path / "site.toml"
    site.write_text(site.read_text().replace("single_user = true", 'node_user = "root"'))
    assert "would run as root" in one(Context(hospital.home, hospital.node), users.separate_users).found
    site.write_text(site.read_text().replace('node_user = "root"', 'node_user = "no-such-user"'))
    assert "no-such-user" in one(Context(hospital.home, hospital.node), users.separate_users).found
    site.write_text(site.read_text().replace('node_user = "no-such-user"', ""))
    assert "not set" in one(Context(hospital.home, hospital.node), users.separate_users).found


def test_modes_are_judged_where_nothing_can_be_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    other = accounts.Account("other", 4712, (4712,))
    tmp_path.chmod(0o700)
    assert accounts.may(other, [tmp_path], os.R_OK) == (False,)
    owner = accounts.Account("owner", tmp_path.stat().st_uid, (0,))
    assert accounts._allows(owner, tmp_path.stat(), os.R_OK | os.W_OK)


def test_archive_and_labels(hospital: Context, images: Path, tmp_path: Path) -> None:
    assert one(hospital, archive.archive_readable).state in ("ok", "warn")
    looked_at = one(hospital, archive.labels_join)
    assert (looked_at.state, "looked at" in looked_at.found) == ("ok", True)
    key = hospital.home.archive_key
    with Catalog.of(images, hospital.home.path / "archive") as catalog:
        report = scan(images, catalog, key=key, labels=read_labels(images / "labels.csv", key))
    joined = one(hospital, archive.labels_join)
    assert "in the catalog" in joined.found
    assert int(joined.found.split()[0]) >= report.usable
    assert archive.usable_images(hospital) is not None
    (tmp_path / "labels.csv").write_text("sop_instance_uid,label\n1.2.3,clear\n")
    site = hospital.home.path / "site.toml"
    site.write_text(site.read_text().replace(f"{images}/labels.csv", f"{tmp_path}/labels.csv"))
    found = one(Context(hospital.home, hospital.node), archive.labels_join)
    assert (found.state, found.found.startswith("0 of")) == ("fail", True)
    (tmp_path / "labels.csv").write_text("sop_instance_uid,mask\n1.2.3,masks/1.png\n")
    found = one(Context(hospital.home, hospital.node), archive.labels_join)
    assert (found.state, "no column 'label' but sop_instance_uid, mask" in found.found) == ("ok", True)
    site.write_text(site.read_text().replace(f'archive = "{images}"', 'archive = "nowhere"'))
    assert "is not a folder" in one(Context(hospital.home, hospital.node), archive.archive_readable).found


def test_the_look_at_the_archive_is_bounded(images: Path) -> None:
    assert archive.sample(images, most=3).files == 3
    assert archive.sample(images, seconds=0.0).files == 1


def test_a_full_disk_and_little_memory(hospital: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        f_bavail, f_frsize = 1, 4096

    monkeypatch.setattr(os, "statvfs", lambda _: Full)
    assert one(hospital, machine.disk).state == "fail"
    assert one(hospital, machine.shared_memory).state == "fail"
    monkeypatch.setattr(shared_machine, "free_memory", lambda: 1)
    assert one(hospital, machine.memory).state == "fail"


@as_root
def test_a_really_small_disk(hospital: Context, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if os.system(f"mount -t tmpfs -o size=1m none {small} 2>/dev/null") != 0:  # noqa: S605
        pytest.skip("root may not mount here")
    try:
        shutil.copytree(hospital.home.path, small, dirs_exist_ok=True)
        assert one(Context(Home(small), hospital.node), machine.disk).state == "fail"
    finally:
        os.system(f"umount {small}")  # noqa: S605


def test_memory_is_what_the_container_allows(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:   1000 kB\n")
    (tmp_path / "max").write_text("max\n")
    assert shared_machine.free_memory(tmp_path / "meminfo", tmp_path / "max") == 1_024_000
    (tmp_path / "max").write_text("500\n")
    assert shared_machine.free_memory(tmp_path / "meminfo", tmp_path / "max") == 500


def test_the_disk_is_judged_by_the_catalog_and_the_study(hospital: Context, images: Path) -> None:
    study = parse_study(MINIMAL)
    assert "without the image cache" in one(hospital, machine.disk).found
    with Catalog.of(images, hospital.home.path / "archive") as catalog:
        scan(images, catalog, key=hospital.home.archive_key)
    found = one(Context(hospital.home, hospital.node, study), machine.disk)
    assert f"image cache of {archive.usable_images(hospital)} images" in found.found


def test_gpu(hospital: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    assert one(hospital, machine.gpu).state == "ok"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    site = hospital.home.path / "site.toml"
    site.write_text(site.read_text().replace("[daemon]", 'device = "cuda"\n[daemon]'))
    found = one(Context(hospital.home, hospital.node), machine.gpu)
    assert (found.state, 'device = "cpu"' in found.do) == ("fail", True)


def test_the_agent_is_asked_on_its_socket(hospital: Context, tmp_path: Path) -> None:
    assert one(hospital, users.agent_answers).found == "not running"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "a.sock"))
    assert "does not answer" in one(hospital, users.agent_answers).found


def command() -> typer.Typer:
    app = typer.Typer()
    app.command()(doctor)
    return app


def test_the_command(hospital: Context, tmp_path: Path) -> None:
    with coordinator(authority().issue(tmp_path)) as port:
        home = str(reaching(hospital, port).home.path)
        done = CliRunner().invoke(command(), ["--home", home, "--json"])
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(line.keys() == {"name", "state", "found", "do"} for line in lines)
    assert done.exit_code == int(any(line["state"] == "fail" for line in lines))
    broken = CliRunner().invoke(command(), ["--home", str(tmp_path / "none")])
    assert broken.exit_code == 1
    assert "checks failed" in broken.stdout


def test_each_side_alone(hospital: Context, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    agent = diagnose(Context(hospital.home, NodeHome(nowhere)), "agent")
    assert passed([check for check in agent if check.name not in ("memory", "disk")]), agent
    with coordinator(authority().issue(tmp_path)) as port:
        node = diagnose(Context(Home(nowhere), reaching(hospital, port).node), "node")
    assert passed(node), node


def test_no_key_is_ever_shown(hospital: Context) -> None:
    secret = (hospital.home.path / "keys/archive.key").read_bytes()
    (hospital.home.path / "keys/identity.key").write_bytes(b"")
    text = render(diagnose(hospital))
    assert secret.hex() not in text
    assert repr(secret)[2:-1] not in text


def test_checks_survive_what_they_raise() -> None:
    def broken_thing(_: None) -> Check:
        raise ValueError("patient Miller")

    def missing(_: None) -> Check:
        return ok("plenty") if Path("/nonexistent/Miller").stat() else fail("", "")

    checks = examine(None, (broken_thing, missing))
    assert [check.state for check in checks] == ["fail", "fail"]
    assert [check.name for check in checks] == ["broken thing", "missing"]
    assert "ValueError" in checks[0].found
    assert "Miller" not in render(checks) + json_lines(checks)
    assert render(checks).endswith("2 of 2 checks failed")
