"""What secure aggregation costs as hospitals join: a hospital, and the coordinator's whole unmasking, from 5 to 200.

    python benchmarks/secagg_cost.py [--sites 5 20 50 100 200] [--parameters 10000000] [--out FILE] [--memory]

The real roles in active mode with one colluder allowed for, one hospital lost before contributing and one (where the
threshold lets it) that vanishes after confirming, so that both kinds of secret are rebuilt from shares. One process and
thread, CPU-seconds; a hospital's figures are medians over all. With `--memory` times are of no use: it prints the
collector's peak (tracemalloc, its shelf a file) while it adds one hospital's message, whose own bytes are not counted,
and while it opens the sum.
"""

import argparse
import statistics
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import matplotlib as mpl
import numpy as np
from rich.console import Console
from rich.progress import Progress, TaskID

from server.file_shelf import FileShelf
from shared.console import bars
from shared.secagg.collector import Collector
from shared.secagg.masks import Words, filled
from shared.secagg.member import Masked, Plain, RoundState, contribute, unmask
from shared.secagg.plan import Plan, SiteRules, threshold_for
from shared.secagg.rehearsal import Federation, Hospital

mpl.use("Agg")
T = TypeVar("T")


@dataclass(frozen=True)
class Cost:
    """CPU-seconds of a hospital's two large steps, of adding one contribution and of opening the sum; bytes; MB."""

    sites: int
    threshold: int
    contribute: float
    confirm: float
    unmask: float
    add: float
    finish: float
    bytes_up: int
    peak_mb: float


def timed(action: Callable[[], T]) -> tuple[float, T]:
    start = time.process_time()
    found = action()
    return time.process_time() - start, found


class Peak:
    """The most memory that was traced while it was switched on; does nothing unless `wanted`."""

    def __init__(self, *, wanted: bool) -> None:
        self.bytes, self._wanted = 0, wanted

    def of(self, action: Callable[[], T]) -> T:
        if not self._wanted:
            return action()
        tracemalloc.start()
        found = action()
        self.bytes = max(self.bytes, tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        return found


def cost(sites: int, parameters: int, tell: Callable[[int], None], *, memory: bool) -> Cost:
    federation = Federation.of(sites)
    plan = federation.plan(length=parameters, colluders=1, threshold=threshold_for(sites, 0.6, 1))
    vector, peak = np.arange(parameters, dtype=np.uint32), Peak(wanted=memory)
    with FileShelf() as shelf:
        collector = Collector(plan, federation.roster, shelf)
        states, shares, adds, sent = {}, [], [], 0
        for number, hospital in enumerate(federation.hospitals[1:]):  # the first is lost
            took, masked = timed(partial(step_one, federation, plan, hospital, vector))
            shares.append(took)
            states[hospital], sent = masked.state, len(masked.contribution) + len(masked.vector)
            adds.append(peak.of(partial(timed, partial(collector.add, masked.contribution, masked.vector)))[0])
            tell(number + 1)
        survivors = collector.close()
        confirms, _ = timed(lambda: federation.confirm(collector, states))
        silent = min(1, len(survivors) - plan.threshold)
        answers = [one_answer(collector, hospital, state) for hospital, state in list(states.items())[silent:]]
        finish, total = peak.of(lambda: timed(collector.finish))
    if not np.array_equal(total.words, vector * np.uint32(len(survivors))):
        raise SystemExit(f"{sites} sites: the unmasked sum is not the integer sum")
    return Cost(
        sites=sites,
        threshold=plan.threshold,
        contribute=statistics.median(shares),
        confirm=confirms / len(survivors),
        unmask=statistics.median(answers),
        add=statistics.median(adds),
        finish=finish,
        bytes_up=sent - 4 * parameters,
        peak_mb=(vector.nbytes + peak.bytes) / 1e6,
    )


def step_one(federation: Federation, plan: Plan, hospital: Hospital, vector: Words) -> Masked:
    seat = federation.seat(plan, hospital)
    return contribute(
        seat, Plain(np.ones(1, "<u8"), filled(vector)), run_key=hospital.run_key, identity=hospital.identity
    )


def one_answer(collector: Collector, hospital: Hospital, state: RoundState) -> float:
    """CPU-seconds of the hospital's answer; the coordinator has it afterwards."""
    request = collector.request(hospital.name)
    took, answer = timed(lambda: unmask(state, request, identity=hospital.identity, rules=SiteRules()))
    collector.answer(answer)
    return took


def draw(costs: list[Cost], parameters: int, out: Path) -> None:
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend is chosen

    sites = [each.sites for each in costs]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    left.plot(sites, [c.contribute for c in costs], "o-", label="contribute: masks, shares, commitments")
    left.plot(sites, [c.unmask for c in costs], "s-", label="unmask: open bundles")
    if len(costs) > 3:
        low, high = costs[1], costs[-2]
        slope = (high.contribute - low.contribute) / (high.sites - low.sites)
        line = [low.contribute + slope * (n - low.sites) for n in sites]
        left.plot(sites, line, ":", color="grey", label=f"linear, as from {low.sites} to {high.sites}")
    left.set_title(f"a hospital, {parameters:,} parameters")
    right.plot(sites, [c.finish for c in costs], "o-", label="finish: rebuild seeds, take masks off")
    right.plot(sites, [c.add * (c.sites - 1) for c in costs], "s-", label="add all contributions")
    right.set_title("the coordinator, two hospitals lost")
    for axes in (left, right):
        axes.set_xlabel("hospitals in the cohort")
        axes.set_ylabel("CPU-seconds")
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)


def tell_bar(bar: Progress, task: TaskID, done: int) -> None:
    bar.update(task, completed=done)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, nargs="+", default=[5, 20, 50, 100, 200])
    parser.add_argument("--parameters", type=int, default=10_000_000)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/secagg-cost.png"))
    parser.add_argument("--memory", action="store_true", help="the coordinator's memory instead of times")
    options = parser.parse_args()
    costs = []
    with bars(Console()) as bar:
        for sites in options.sites:
            task = bar.add_task(f"{sites} hospitals", total=sites - 1)
            tell = partial(tell_bar, bar, task)
            costs.append(cost(sites, options.parameters, tell, memory=options.memory))
    if options.memory:
        for c in costs:
            print(f"{c.sites:4} hospitals: {c.peak_mb:6.1f} MB, the sum of {4e-6 * options.parameters:.0f} MB included")
        return
    print(f"{'sites':>5}{'t':>5}{'contribute':>12}{'confirm':>9}{'unmask':>9}{'add one':>9}{'finish':>9}", end="")
    print(f"{'bytes beside the vector':>25}")
    for c in costs:
        print(f"{c.sites:5}{c.threshold:5}{c.contribute:12.3f}{c.confirm:9.4f}{c.unmask:9.3f}{c.add:9.4f}", end="")
        print(f"{c.finish:9.3f}{c.bytes_up:25,}")
    draw(costs, options.parameters, options.out)


if __name__ == "__main__":
    main()
