"""What this machine has: memory, disk, a synchronised clock."""

import os
import shutil
import subprocess
from pathlib import Path

from shared.checks import Check, graded, ok, warn

GIB = 1 << 30
_CGROUP = Path("/sys/fs/cgroup/memory.max")


def free_memory(meminfo: Path = Path("/proc/meminfo"), limit: Path = _CGROUP) -> int:
    """Bytes available (proc(5), MemAvailable), or the container's limit where that is less."""
    fields = dict(line.split(":", 1) for line in meminfo.read_text("ascii").splitlines() if ":" in line)
    available = int(fields["MemAvailable"].split()[0]) * 1024
    text = limit.read_text("ascii").strip() if limit.exists() else "max"
    return min(available, int(text)) if text.isdigit() else available


def free_disk(folder: Path) -> int:
    """Bytes that a user who is not root may still write below `folder`."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def memory_check(needed: int) -> Check:
    """At least `needed` bytes of memory are free, and half as much again to be at ease."""
    free = free_memory()
    found = f"{free / GIB:.1f} GiB free, {needed / GIB:.1f} needed"
    do = "Stop other work on this host, or give it (or the container) more memory."
    return graded(free, warn_at=1.5 * needed, fail_at=needed, found=found, do=do)


def disk_check(folder: Path, needed: int, what: str) -> Check:
    """At least `needed` bytes are free below `folder`, and half as much again to be at ease."""
    free = free_disk(folder)
    found = f"{free / GIB:.1f} GiB free in {folder}, {needed / GIB:.1f} needed ({what})"
    do = "Free space or move the folder to a larger disk."
    return graded(free, warn_at=1.5 * needed, fail_at=needed, found=found, do=do)


def clock(_: object = None) -> Check:
    """The time service says that the clock is synchronised, where there is one to ask."""
    tool = shutil.which("timedatectl")
    if tool is None:
        return ok("not known: no timedatectl here")
    try:
        done = subprocess.run(  # noqa: S603  a fixed command
            [tool, "show", "--property=NTPSynchronized", "--value"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return ok("not known: timedatectl does not answer")
    if done.returncode:
        return ok("not known: no time service to ask")
    if done.stdout.strip() == "yes":
        return ok("synchronised")
    return warn("not synchronised", "Start time synchronisation (chrony, systemd-timesyncd).")
