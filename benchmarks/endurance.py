"""An agent's memory over 200 rounds: does it grow?

Three real agent processes (`client.agent_main`, as `konsil-client up` starts them) answer the real coordinator over
their own sockets, private and masked, with a tiny model. Only Flower is left out: its SuperNode and the relay are
other processes, and its waiting would make this an hour.

    python benchmarks/endurance.py [--rounds 200] [--hidden 8] [--open]
"""

import argparse
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from memory import Memory, memory_of
from rich.console import Console
from rich.progress import Progress, TaskID
from trial import TINY, study_text, trial_archives

from client import frames
from server.aggregate import Aggregator
from server.checkpoints import Checkpoints
from server.collect import Arrival
from server.coordinator import Coordinator
from server.observer import Event, RoundFinished
from server.run import enter_run, new_run
from shared.console import bars
from shared.errors import SiteError
from shared.study import parse_study
from shared.supervise import python
from simulations.local import LocalFederation

#: The round from which growth is counted: images are decoded and every path was taken by then.
WARM = 20
#: A study of 200 rounds needs a larger budget than the demo's policy grants.
POLICY = """
[privacy]
epsilon_total = 1000.0
epsilon_per_study = 1000.0
delta = 1e-5
least = "off"
[aggregation]
min_cohort = 2
adversary = "semi-honest"
colluders = 0
[evaluation]
per_site_figures = true
per_site_counts = true
[studies]
ask = false
"""


class SocketLink:
    """A `Link` to agents at their sockets, asked at the same time; node k is `paths[k]`."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths
        self._threads = ThreadPoolExecutor(len(paths))

    def nodes(self) -> tuple[int, ...]:
        return tuple(range(len(self._paths)))

    def ask(self, requests: Mapping[int, bytes], timeout_s: float) -> Iterator[Arrival]:
        futures = {
            self._threads.submit(frames.ask, self._paths[node], frames.MESSAGE, request, timeout_s=timeout_s): node
            for node, request in requests.items()
        }
        for future in as_completed(futures):
            node = futures.pop(future)
            try:
                yield Arrival(node, future.result())
            except SiteError as error:
                yield Arrival(node, None, str(error))


@dataclass(frozen=True)
class Scale:
    """An observer that weighs every agent after every round."""

    pids: Mapping[str, int]
    bar: Progress
    task: TaskID
    rounds: list[dict[str, Memory]] = field(default_factory=list)

    def notice(self, event: Event) -> None:
        if isinstance(event, RoundFinished):
            self.rounds.append({name: memory_of(pid) for name, pid in self.pids.items()})
            self.bar.update(self.task, completed=event.round)


@contextmanager
def agents(local: LocalFederation, sockets: Path) -> Iterator[dict[str, int]]:
    """Every hospital's agent, running; their process numbers."""
    running = {}
    try:
        for name in local.names:
            home = local.home(name).path
            with (home / "site.toml").open("a") as file:
                file.write("[daemon]\nsingle_user = true\n")
            (home / "policy.toml").write_text(POLICY)
            command = python("client.agent_main", str(home), str(sockets / name))
            env = os.environ | {"OMP_NUM_THREADS": "1"}
            with (home / "agent.log").open("wb") as log:
                running[name] = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
        _wait_for([sockets / name for name in local.names])
        yield {name: process.pid for name, process in running.items()}
    finally:
        for process in running.values():
            process.terminate()
            process.wait()


def _wait_for(paths: list[Path]) -> None:
    until = time.monotonic() + 120
    while not all(path.exists() for path in paths):
        if time.monotonic() > until:
            raise TimeoutError("expected every agent's socket")
        time.sleep(0.1)


def endure(folder: Path, options: argparse.Namespace) -> list[dict[str, Memory]]:
    """The agents' memory after every round."""
    study = parse_study(study_text(rounds=options.rounds, hidden=options.hidden, private=not options.open))
    local = LocalFederation.make(folder, trial_archives(folder / "archives"), study)
    with agents(local, folder) as pids, bars(Console()) as bar:
        scale = Scale(pids, bar, bar.add_task("rounds", total=options.rounds))
        start = enter_run(folder / "run", study, new_run(study), starts=1)
        invitation = local.federation.invitation(start.identity.run, study)
        link = SocketLink([folder / name for name in local.names])
        aggregator = Aggregator(link, invitation, local.federation.roster, local.federation.operator)
        coordinator = Coordinator(aggregator, Checkpoints(folder / "run" / "checkpoints"), scale, start=1)
        outcome = coordinator.run(start.begin)
    if outcome.status != "finished":
        raise SystemExit(f"the run {outcome.status}: {outcome.because}")
    return scale.rounds


def report(rounds: list[dict[str, Memory]]) -> None:
    """One line per agent: at the warm round, at the end, and the growth between them."""
    warm, last = rounds[min(WARM, len(rounds)) - 1], rounds[-1]
    first = min(WARM, len(rounds))
    print(f"{'RSS, MB':24}{f'round {first}':>10}  {f'round {len(rounds)}':>10}{'growth':>10}{'':8}{'own pages':>11}")
    for name in last:
        before, after = warm[name], last[name]
        growth = after.rss_mb - before.rss_mb
        print(
            f"{name:24}{before.rss_mb:10.1f}  {after.rss_mb:10.1f}{growth:+10.2f}{growth / before.rss_mb:+8.1%}"
            f"{after.uss_mb - before.uss_mb:+11.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--hidden", type=int, default=TINY, help="units of the dense layer: the model's size")
    parser.add_argument("--open", action="store_true", help="without privacy")
    parser.add_argument("--each", action="store_true", help="print every tenth round too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rounds = endure(Path(folder), options)
    for number, row in enumerate(rounds, start=1):
        if options.each and number % 10 == 0:
            print(number, *(f"{name} {memory.rss_mb:.1f}/{memory.uss_mb:.1f}" for name, memory in row.items()))
    report(rounds)


if __name__ == "__main__":
    main()
