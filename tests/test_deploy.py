"""What deploy/ promises: units that systemd accepts and scores, containers that hold each side to what it needs."""

import ctypes
import importlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import pytest

from client.home import make_keys

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
DOCKERFILES = sorted((DEPLOY / "docker").glob("*.Dockerfile"))
#: Highest exposure that `systemd-analyze security` may give, of 10.
EXPOSURE = 2.0
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")


def directives(unit: Path) -> list[tuple[str, str]]:
    """Key and value of every line, in order; a key may come more than once."""
    lines = (line.strip() for line in unit.read_text("utf-8").splitlines())
    return [(key, value) for key, found, value in (line.partition("=") for line in lines) if found and key[:1] != "#"]


def values(unit: str, key: str) -> list[str]:
    return [value for name, value in directives(DEPLOY / "systemd" / unit) if name == key]


def words(unit: str, key: str) -> set[str]:
    return {word for value in values(unit, key) for word in value.split()}


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_systemd_accepts_every_line(unit: Path, tmp_path: Path) -> None:
    """A copy whose program exists: `verify` looks for it."""
    copy = tmp_path / unit.name
    copy.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", unit.read_text(), flags=re.MULTILINE))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True, check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if unit.stem in line]) == (0, [])


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_exposure(unit: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= EXPOSURE


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_every_unit_is_confined(unit: Path) -> None:
    wanted = {
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "PrivateTmp": "yes",
        "CapabilityBoundingSet": "",
        "UMask": "0077",
        "LimitCORE": "0",
        "Restart": "on-failure",
        "DevicePolicy": "closed",
        "StateDirectoryMode": "0700",
    }
    found = dict(directives(unit))
    assert {key: found.get(key) for key in wanted} == wanted
    assert found["User"] not in ("root", "0", "nobody")
    assert "TimeoutStopSec" in found


def test_the_two_sides_of_a_hospital_are_two_users_and_share_only_the_sockets_folder() -> None:
    agent, node = "konsil-agent.service", "konsil-node.service"
    assert values(agent, "User") != values(node, "User")
    assert values(agent, "Group") != values(node, "Group")
    assert not values(agent, "SupplementaryGroups") + values(node, "SupplementaryGroups")
    assert values(agent, "RuntimeDirectoryMode") == ["0711"]
    assert words(node, "BindPaths") == {"/var/lib/konsil-node"}
    assert "-/var/lib/konsil" in words(node, "InaccessiblePaths")
    shared = words(node, "BindReadOnlyPaths") & {f"/run/{name}" for name in words(agent, "RuntimeDirectory")}
    assert shared == {"/run/konsil"}


def test_the_agent_has_no_network_and_the_network_side_no_file_system() -> None:
    agent, node = "konsil-agent.service", "konsil-node.service"
    assert values(agent, "PrivateNetwork") == ["yes"]
    assert words(agent, "RestrictAddressFamilies") == {"AF_UNIX"}
    assert values(agent, "IPAddressDeny") == ["any"]
    assert values(node, "RootDirectory") == ["/usr/lib/konsil/empty"]  # without it, the line below does nothing
    assert values(node, "TemporaryFileSystem") == ["/:ro"]
    visible = {path.lstrip("-") for path in words(node, "BindReadOnlyPaths")}
    assert not visible & {"/", "/home", "/srv", "/mnt", "/media", "/var", "/run"}


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_units_name_users_folders_and_commands_that_are_made(unit: Path) -> None:
    found = dict(directives(unit))
    users = "".join(path.read_text() for path in (DEPLOY / "systemd").glob("*.sysusers.conf"))
    folders = "".join(path.read_text() for path in (DEPLOY / "systemd").glob("*.tmpfiles.conf"))
    assert re.search(rf"^u {found['User']}\s", users, flags=re.MULTILINE)
    assert re.search(rf"^d /var/lib/{found['StateDirectory']}\s+0700 {found['User']}\s", folders, flags=re.MULTILINE)
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    assert Path(found["ExecStart"].split()[0]).name in scripts


@needs_root
@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="no systemd-sysusers here")
def test_users_and_folders_are_made_as_said(tmp_path: Path) -> None:
    """systemd's own tools, in an empty root."""
    etc = tmp_path / "etc"
    etc.mkdir()
    for name in ("passwd", "group"):
        (etc / name).write_text("root:x:0:0::/root:/bin/sh\n" if name == "passwd" else "root:x:0:\n")
    for tool, pattern in (("systemd-sysusers", "*.sysusers.conf"), ("systemd-tmpfiles", "*.tmpfiles.conf")):
        arguments = ["--create"] if tool == "systemd-tmpfiles" else []
        files = sorted((DEPLOY / "systemd").glob(pattern))
        subprocess.run([tool, f"--root={tmp_path}", *arguments, *files], check=True, capture_output=True)
    users = {line.split(":")[0]: int(line.split(":")[2]) for line in (etc / "passwd").read_text().splitlines()}
    wanted = {"var/lib/konsil": 0o700, "var/lib/konsil-node": 0o700, "run/konsil": 0o711}
    found = {name: (tmp_path / name).stat() for name in wanted}
    assert {name: status.st_mode & 0o7777 for name, status in found.items()} == wanted
    assert found["var/lib/konsil"].st_uid == users["konsil"] == found["run/konsil"].st_uid
    assert found["var/lib/konsil-node"].st_uid == users["konsil-net"]


#: prctl(2): from here on no page is both written and executed, as MemoryDenyWriteExecute has it.
_NO_WRITTEN_CODE = "import ctypes; assert ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0; "


def without_written_code(code: str) -> "subprocess.CompletedProcess[str]":
    if ctypes.CDLL(None).prctl(66, 0, 0, 0, 0) < 0:
        pytest.skip("this kernel has no PR_SET_MDWE (6.3)")
    command = [sys.executable, "-c", _NO_WRITTEN_CODE + code]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_network_side_runs_without_written_code() -> None:
    assert values("konsil-node.service", "MemoryDenyWriteExecute") == ["yes"]
    done = without_written_code("import client.node, flwr.supernode.cli.flower_supernode")
    assert done.returncode == 0, done.stderr


def test_training_does_not_which_is_why_the_agent_may() -> None:
    """The day this fails, switch MemoryDenyWriteExecute on for the agent."""
    assert values("konsil-agent.service", "MemoryDenyWriteExecute") == ["no"]
    code = "import torch; print('imported'); torch.nn.Conv2d(1, 8, 3)(torch.randn(4, 1, 32, 32))"
    done = without_written_code(code)
    if done.returncode == 0:
        pytest.skip("this processor's convolutions are not compiled while running")
    assert "imported" in done.stdout
    assert "could not create a primitive" in done.stderr


@needs_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv here")
def test_the_node_user_cannot_read_a_home_as_join_leaves_it() -> None:
    base = Path(tempfile.mkdtemp(prefix="konsil-deploy-"))
    try:
        base.chmod(0o755)
        home = base / "home"
        home.mkdir(mode=0o700)
        make_keys(home)
        (home / "ledger.sqlite").write_text("budget")
        os.chown(home, 65533, 65533)
        drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]
        for secret in ("keys/identity.key", "ledger.sqlite"):
            assert subprocess.run([*drop, "cat", home / secret], capture_output=True, check=False).returncode != 0
        for folder in (home, home / "keys"):
            assert subprocess.run([*drop, "ls", folder], capture_output=True, check=False).returncode != 0
        assert subprocess.run([*drop, "ls", base], capture_output=True, check=False).returncode == 0
    finally:
        shutil.rmtree(base)


def compose(name: str) -> dict[str, Any]:
    loaded = importlib.import_module("yaml").safe_load((DEPLOY / "compose" / name).read_text("utf-8"))
    assert isinstance(loaded, dict)
    return loaded


COMPOSE = sorted(path.name for path in (DEPLOY / "compose").glob("*.yaml"))
#: The compose specification's keys that we use: a misspelt one would be ignored by nobody but us.
SERVICE_KEYS = {"image", "build", "command", "user", "ports", "volumes", "networks", "network_mode", "depends_on"}
SERVICE_KEYS |= {"read_only", "tmpfs", "cap_drop", "security_opt", "pids_limit", "mem_limit", "ulimits", "shm_size"}
SERVICE_KEYS |= {"stop_grace_period", "restart", "logging", "healthcheck"}


def targets(service: dict[str, Any]) -> set[str]:
    return {v["target"] if isinstance(v, dict) else v.split(":")[1] for v in service.get("volumes", ())}


@pytest.mark.parametrize("name", COMPOSE)
def test_every_service_is_confined(name: str) -> None:
    for service in compose(name)["services"].values():
        assert not set(service) - SERVICE_KEYS
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", service["user"])
        assert service["pids_limit"]
        assert service["mem_limit"]
        assert service["tmpfs"]
        assert service.get("network_mode") in (None, "none")
        assert not {"privileged", "pid", "ipc", "userns_mode", "cap_add", "devices"} & set(service)
        assert not service["image"].endswith(":latest")
        assert ":" in service["image"]
        assert "docker.sock" not in str(service.get("volumes"))


@pytest.mark.parametrize("name", COMPOSE)
def test_named_volumes_networks_and_dockerfiles_exist(name: str) -> None:
    file = compose(name)
    for service in file["services"].values():
        named = {v.split(":")[0] for v in service.get("volumes", ()) if isinstance(v, str)}
        assert named <= set(file["volumes"])
        assert set(service.get("networks", ())) <= set(file.get("networks", {}))
        if "build" in service:
            context = (DEPLOY / "compose" / service["build"]["context"]).resolve()
            assert context == ROOT
            assert (context / service["build"]["dockerfile"]).is_file()


def test_in_a_hospital_no_container_has_both_the_archive_and_the_network() -> None:
    services = compose("hospital.yaml")["services"]
    assert set(services) == {"agent", "node"}
    for service in services.values():
        has_network = service.get("network_mode") != "none"
        assert not (has_network and targets(service) & {"/archive", "/labels.csv", "/var/lib/konsil"})
        assert not service.get("ports")
    agent, node = services["agent"], services["node"]
    assert agent["network_mode"] == "none"
    assert agent["user"].split(":")[0] != node["user"].split(":")[0]
    assert targets(agent) & targets(node) == {"/run/konsil"}
    assert all(v["read_only"] for v in agent["volumes"] if isinstance(v, dict))
    assert "socket:/run/konsil:ro" in node["volumes"]


def instructions(path: Path) -> list[tuple[str, str]]:
    """(INSTRUCTION, arguments) with continued lines joined."""
    text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", path.read_text("utf-8"), flags=re.MULTILINE))
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_dockerfiles(path: Path) -> None:
    lines = instructions(path)
    copied = [word for key, rest in lines if key == "COPY" and "--from" not in rest for word in rest.split()[:-1]]
    assert copied
    assert all((ROOT / word).exists() for word in copied)
    assert not {"keys", ".git", ".", "tests"} & set(copied)
    assert not [rest for key, rest in lines if key == "ADD"]
    assert all(re.fullmatch(r"python:3\.11-slim-bookworm( AS \w+)?", rest) for key, rest in lines if key == "FROM")
    user = [rest for key, rest in lines if key == "USER"][-1]
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)
    last_stage = lines[max(number for number, (key, _) in enumerate(lines) if key == "FROM") :]
    assert {"USER", "HEALTHCHECK", "ENTRYPOINT", "CMD"} <= {key for key, _ in last_stage}
    assert any(key == "HEALTHCHECK" and '"status"' in rest for key, rest in last_stage)
    installs = [rest for key, rest in lines if key == "RUN" and "pip install" in rest]
    assert all("-c constraints.txt" in rest for rest in installs)
    assert not [rest for key, rest in lines if key in ("ENV", "ARG") and re.search(r"(?i)secret|password|token", rest)]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_what_is_copied_is_what_the_package_needs(path: Path) -> None:
    """hatchling wants every package of pyproject.toml, and the readme."""
    project = (ROOT / "pyproject.toml").read_text()
    (packages,) = re.findall(r"^packages = \[(.*)\]", project, flags=re.MULTILINE)
    copied = " ".join(rest for key, rest in instructions(path) if key == "COPY")
    for name in (*re.findall(r'"(\w+)"', packages), "pyproject.toml", "README.md", "constraints.txt"):
        assert re.search(rf"(^|\s){re.escape(name)}\s", copied), name


PAGES = ("docs/deploy.md", "deploy/README.md")


@pytest.mark.parametrize("page", PAGES)
def test_commands_options_and_files_of_the_pages_exist(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    blocks = re.sub(r"\\\n", " ", "\n".join(re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)))
    for room, command, rest in re.findall(r"konsil-(client|server) ([a-z]+)([^\n]*)", blocks):
        source = "\n".join(
            path.read_text() for path in (ROOT / room / "cli.py", *(ROOT / room / "commands").glob("*.py"))
        )
        assert re.search(rf'^def {command}\b|name="{command}"', source, flags=re.MULTILINE), command
        for option in re.findall(r"--([a-z-]+)", rest):
            assert f'"--{option}"' in source or re.search(rf"^\s+{option.replace('-', '_')}:", source, re.MULTILINE)
    for name in re.findall(r"\bdeploy/[\w./-]+", blocks):
        assert (ROOT / name).is_file(), name
    for name in re.findall(r"\]\(([^):]+)\)", text):
        assert (ROOT / page).parent.joinpath(name).exists(), name


def test_the_backup_holds_no_run_keys(tmp_path: Path) -> None:
    """The command of the page, on a home that holds everything an agent leaves."""
    kept = {"keys/identity.key", "site.toml", "ledger.sqlite", "ledger.sqlite-wal", "audit.jsonl", "roster.version"}
    left = {"rounds.sqlite", "rounds.sqlite-wal", "rounds.sqlite-shm", "rounds.sqlite.lock", "archive/catalog.sqlite"}
    for name in [*(f"konsil/{name}" for name in kept | left), "konsil-node/node.key", "konsil-node/flower/x"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    text = (ROOT / "docs/deploy.md").read_text("utf-8")
    (command,) = re.findall(r"^sudo (tar (?:.*\\\n)*.*)$", text, flags=re.MULTILINE)
    subprocess.run(["bash", "-c", command.replace("/var/lib", str(tmp_path))], cwd=tmp_path, check=True)
    with tarfile.open(tmp_path / "konsil-backup.tar") as tar:
        found = {member.name for member in tar.getmembers() if member.isfile()}
    assert found == {f"konsil/{name}" for name in kept} | {"konsil-node/node.key"}


def test_the_scores_of_the_page_are_at_least_those_measured() -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    told = [float(score) for score in re.findall(r"\b[0-9]\.[0-9]\b", (DEPLOY / "README.md").read_text("utf-8"))]
    for unit in UNITS:
        command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        score = float(re.findall(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)[0])
        assert any(abs(score - each) <= 0.3 for each in told), (unit.name, score)  # systemd's weights change
