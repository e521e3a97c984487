"""What the units of deploy/systemd really let a process do: under a systemd of our own, in namespaces of its own.

Only where KONSIL_SANDBOX=1 is set: it needs root, overlayfs and a kernel to itself (a virtual machine). The root file
system is a copy-on-write layer that goes with the namespace; nothing of the host is changed.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
UNITS = ROOT / "deploy/systemd"
pytestmark = pytest.mark.skipif(
    os.environ.get("KONSIL_SANDBOX") != "1" or os.geteuid() != 0, reason="needs root and KONSIL_SANDBOX=1"
)

#: What each side tries, as `name=status of the attempt`: 0 it could, else it could not.
AGENT = """
try() { name=$1; shift; "$@" >/dev/null 2>&1; echo "$name=$?"; }
try archive cat /srv/archive/a.dcm
try write-archive touch /srv/archive/b
try home cat /var/lib/konsil/secret
try write-home touch /var/lib/konsil/new
try node-home ls /var/lib/konsil-node
try write-etc touch /etc/new
try interfaces sh -c '[ "$(grep -c : /proc/net/dev)" -gt 1 ]'
try namespaces unshare --user true
try socket sh -c 'touch /run/konsil/agent.sock'
"""
NODE = """
try() { name=$1; shift; "$@" >/dev/null 2>&1; echo "$name=$?"; }
try archive ls /srv/archive
try srv ls /srv
try agent-home ls /var/lib/konsil
try secret cat /var/lib/konsil/secret
try write-home touch /var/lib/konsil-node/new
try write-etc touch /etc/new
try write-run touch /run/konsil/new
try list-run ls /run/konsil
try socket test -e /run/konsil/agent.sock
try interfaces sh -c '[ "$(grep -c : /proc/net/dev)" -gt 1 ]'
try namespaces unshare --user true
try others sh -c '[ "$(ls -d /proc/[0-9]* | wc -l)" -gt 6 ]'
"""

#: Builds the throw-away root and becomes its systemd. $1 folder for everything, $2 deploy/systemd, $3 results.
BOOT = r"""
set -eu
mount --make-rprivate /
mount -t tmpfs none "$1"
mkdir "$1/upper" "$1/work" "$1/root"
N=$1/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$N"
mount -t proc proc "$N/proc"; mount -t sysfs -o ro sysfs "$N/sys"; mount -t cgroup2 cgroup2 "$N/sys/fs/cgroup"
mount -t tmpfs tmpfs "$N/run"; mount -t tmpfs tmpfs "$N/tmp"; mount --rbind /dev "$N/dev"
rm -rf "$N"/etc/systemd/system/*.wants
install -m 0644 "$2/konsil.sysusers.conf" "$N/usr/lib/sysusers.d/konsil.conf"
install -m 0644 "$2/konsil.tmpfiles.conf" "$N/usr/lib/tmpfiles.d/konsil.conf"
chroot "$N" systemd-sysusers konsil.conf
chroot "$N" systemd-tmpfiles --create konsil.conf
mkdir -p "$N/srv/archive" "$N/opt/konsil"; echo image > "$N/srv/archive/a.dcm"; echo s > "$N/var/lib/konsil/secret"
chroot "$N" chown -R konsil /srv/archive /var/lib/konsil
cp "$3"/*.sh "$N/opt/konsil/"
for side in agent node; do
  cp "$2/konsil-$side.service" "$N/etc/systemd/system/"
  mkdir "$N/etc/systemd/system/konsil-$side.service.d"
  printf '%s\n' '[Unit]' DefaultDependencies=no '[Service]' Type=oneshot Restart=no ExecStart= \
    "ExecStart=/bin/bash /opt/konsil/$side.sh" "StandardOutput=append:/dev/shm/konsil-$(basename "$3")-$side" \
    > "$N/etc/systemd/system/konsil-$side.service.d/probe.conf"
done
printf '%s\n' '[Unit]' DefaultDependencies=no 'Wants=konsil-agent.service konsil-node.service' \
  > "$N/etc/systemd/system/probe.target"
cd "$N"
exec chroot "$N" /usr/bin/env -i container=docker PATH=/usr/bin:/bin /lib/systemd/systemd --system --unit=probe.target
"""


def own_groups() -> list[Path]:
    """A control group for us in every hierarchy that systemd looks at."""
    bases = [Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup/systemd")]
    groups = [(base if base.is_dir() else Path("/sys/fs/cgroup")) / f"konsil-{os.getpid()}" for base in bases]
    for group in dict.fromkeys(groups):
        group.mkdir(exist_ok=True)
    return list(dict.fromkeys(groups))


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, bool]]]:
    """side → what was tried → whether it could."""
    folder, scripts = tmp_path_factory.mktemp("boot"), tmp_path_factory.mktemp(f"probes-{os.getpid()}-")
    for side, script in (("agent", AGENT), ("node", NODE)):
        (scripts / f"{side}.sh").write_text(script + "echo done=0\n")
    results = {side: Path(f"/dev/shm/konsil-{scripts.name}-{side}") for side in ("agent", "node")}  # noqa: S108
    groups = own_groups()
    enter = "".join(f"echo $$ > {group}/cgroup.procs; " for group in groups)
    unshare = "exec unshare --fork --kill-child --pid --mount --ipc --uts --cgroup"
    command = f'{enter}{unshare} bash -c "$0" boot "$@"'
    arguments = [BOOT, str(folder), str(UNITS), str(scripts)]
    boot = subprocess.Popen(["bash", "-c", command, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(results.values(), boot)
        yield {side: read(path) for side, path in results.items()}
    finally:
        for path in results.values():
            path.unlink(missing_ok=True)
        for group in groups:
            remove(group)
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(results: Iterable[Path], boot: "subprocess.Popen[bytes]") -> None:
    """Until both sides have said their last word, or half a minute; then end that systemd and all below it."""
    end = time.monotonic() + 30
    while time.monotonic() < end and boot.poll() is None:
        if all(path.exists() and "done=0" in path.read_text() for path in results):
            break
        time.sleep(0.1)
    boot.kill()
    boot.wait()


def remove(group: Path) -> None:
    """A control group and those in it; the processes of a killed namespace take a moment to be gone."""
    for inner in sorted((p for p in (group, *group.rglob("*")) if p.is_dir()), reverse=True):
        for _ in range(50):
            try:
                inner.rmdir()
                break
            except OSError:
                time.sleep(0.1)


def read(path: Path) -> dict[str, bool]:
    pairs = (line.partition("=") for line in path.read_text().splitlines())
    return {name: status == "0" for name, _, status in pairs}


def test_the_agent_sees_images_and_no_network(tried: dict[str, dict[str, bool]]) -> None:
    found = tried["agent"]
    can = {"archive", "home", "write-home", "socket", "done"}
    assert {name for name, could in found.items() if could} == can, found


def test_the_network_side_sees_the_socket_and_no_image(tried: dict[str, dict[str, bool]]) -> None:
    found = tried["node"]
    assert {name for name, could in found.items() if could} <= {"write-home", "socket", "interfaces", "done"}, found
    assert found["write-home"]
    assert found["done"]
