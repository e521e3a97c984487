"""The coordinator's memory with 10 and with 50 hospitals, and a model of 10 M parameters.

The coordinator is the real one: `konsil-server up` (SuperLink behind its gate, TLS, node keys, its database on disk)
and the ServerApp that Flower starts for `konsil-server run`. The hospitals are light (light_hospital.py): real keys,
masks and messages through Flower's own Fleet client, no images and no SuperNode between.

    python benchmarks/crowd.py [--sites 10 50] [--rounds 3] [--hidden 2434] [--trace]
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from light_hospital import LightHospital
from memory import memory_of, peak_mb
from rich.console import Console
from trial import TEN_MILLION, study_text, trial_study

from server.nodes import read_nodes
from shared.network_size import parameters_of
from simulations.process_table import Role, pid_of
from simulations.processes import Processes, free_ports, run_study

#: Messages that all hospitals together hold at a time: they share this machine's memory with what is measured.
AT_ONCE = 2
#: All hospitals share this machine's cores, and nobody is to be asked twice for that.
TIMEOUT_S = 3600
ROLES: tuple[Role, ...] = ("serverapp", "superlink")


@dataclass
class Scale:
    """Watches the processes of a coordinator; the kernel remembers each one's peak."""

    federation: Processes
    trace: bool
    peaks: dict[Role, float] = field(default_factory=dict)

    def watch(self, stop: threading.Event) -> None:
        pids: dict[Role, int | None] = {}
        started = time.monotonic()
        while not stop.wait(0.1):
            for role in ROLES:
                try:
                    pid = pids.get(role) or pid_of(self.federation, role)
                    pids[role] = pid
                    if pid is None:
                        continue
                    self.peaks[role] = max(self.peaks.get(role, 0.0), peak_mb(pid))
                    if self.trace and role == "serverapp":
                        print(f"{time.monotonic() - started:8.1f} {memory_of(pid).rss_mb:8.1f}", flush=True)
                except OSError:  # it ended
                    pids[role] = None


def found(out: Path, hospitals: Sequence[LightHospital]) -> Processes:
    """A coordinator in `out` whose roster lists `hospitals`."""
    federation = Processes(out.resolve(), tuple(hospital.name for hospital in hospitals))
    ports = free_ports(3)
    options = [f"--{name}={port}" for name, port in zip(("port", "control-port", "web-port"), ports, strict=True)]
    where = ("--host", "localhost", "--bind", "127.0.0.1")
    federation.command("konsil-server", "init", federation.coordinator.path, *where, *options)
    own = federation.coordinator.federation
    with own.locked():
        own.publish(own.signed(tuple(hospital.entry for hospital in hospitals)))
    return federation


@contextmanager
def connected(federation: Processes, hospitals: Sequence[LightHospital]) -> Iterator[None]:
    """The coordinator up, and every hospital answering it."""
    stop, turn = threading.Event(), threading.Semaphore(AT_ONCE)
    home = federation.coordinator
    address, authority = f"localhost:{home.config.port}", (home.tls / "ca.pem").read_bytes()
    threads = [
        threading.Thread(target=hospital.serve, args=(address, authority, turn, stop), daemon=True)
        for hospital in hospitals
    ]
    federation.start("coordinator")
    try:
        _wait(lambda: len(read_nodes(home)) == len(hospitals))
        for thread in threads:
            thread.start()
        federation.wait_ready()
        yield
    finally:
        stop.set()
        for thread in filter(threading.Thread.is_alive, threads):
            thread.join(10.0)
        federation.stop("coordinator")


def _wait(done: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not done():
        if time.monotonic() > until:
            raise TimeoutError("expected the coordinator to be up")
        time.sleep(0.5)


def weigh(out: Path, sites: int, options: argparse.Namespace, console: Console) -> dict[Role, float]:
    """Peak MB of the coordinator's processes over one run with so many hospitals."""
    replies = out / "replies"
    replies.mkdir(parents=True)
    hospitals = [LightHospital(f"site-{number:03d}", replies) for number in range(sites)]
    federation = found(out, hospitals)
    study = out / "study.toml"
    study.write_text(study_text(rounds=options.rounds, hidden=options.hidden, sites=sites, timeout_s=TIMEOUT_S))
    scale, stop = Scale(federation, options.trace), threading.Event()
    with connected(federation, hospitals):
        watcher = threading.Thread(target=scale.watch, args=(stop,))
        watcher.start()
        try:
            run_study(federation, study, console)
        finally:
            stop.set()
            watcher.join()
    return scale.peaks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, nargs="+", default=[10, 50])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=TEN_MILLION, help="units of the dense layer: the model's size")
    parser.add_argument("--trace", action="store_true", help="print the ServerApp's memory ten times a second")
    options = parser.parse_args()
    size = parameters_of(trial_study(rounds=1, hidden=options.hidden))
    target = 3 * 4 * size / 1e6 + 300
    with tempfile.TemporaryDirectory() as folder:
        rows = [(sites, weigh(Path(folder) / str(sites), sites, options, Console())) for sites in options.sites]
    print(f"\npeak MB, {size:,} parameters ({4 * size / 1e6:.0f} MB), {options.rounds} rounds")
    print(f"{'hospitals':>10}{'ServerApp':>12}{'target':>10}{'SuperLink':>12}")
    for sites, peaks in rows:
        print(f"{sites:>10}{peaks['serverapp']:12.0f}{target:10.0f}{peaks['superlink']:12.0f}")


if __name__ == "__main__":
    main()
