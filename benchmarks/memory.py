"""What one process holds in memory, as the kernel counts it (proc(5)); MB are 10^6 bytes."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Memory:
    """`rss`: pages it has in memory; `uss`: those nobody else has."""

    rss_mb: float
    uss_mb: float


def memory_of(pid: int) -> Memory:
    """Now. Raises OSError once the process is gone."""
    fields = _fields(Path(f"/proc/{pid}/smaps_rollup"))
    return Memory(fields["Rss"], fields["Private_Clean"] + fields["Private_Dirty"])


def peak_mb(pid: int) -> float:
    """The most it ever had in memory. Raises OSError once the process is gone."""
    return _fields(Path(f"/proc/{pid}/status"))["VmHWM"]


def _fields(path: Path) -> dict[str, float]:
    """The lines that count kB, in MB."""
    found = {}
    for line in path.read_text().splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB":
            found[name] = int(words[0]) * 1024 / 1e6
    if not found:
        raise ProcessLookupError(path)
    return found
