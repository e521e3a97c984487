"""How long a reservation takes, on a real disk, when the ledger is full; and the ledger under kill -9.

python benchmarks/ledger.py                 # 100,000 patients, 10,000 charges of 40 runs: 10,000 reservations timed
python benchmarks/ledger.py --kills 1000    # processes killed at random statements
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from ledger_kills import Trial

from client.ledger import Ledger, Limits, Promise, Purpose
from shared.accounting import SampledGaussian
from shared.database import open_database, transaction

LIMITS, PROMISE = Limits(1e6, 1e6, 1e-5), Promise(1e6, 1e-5)
#: A fresh ledger after so many trials: making one is killed, too.
FRESH = 50


def main() -> None:
    """Time reservations, or kill processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=100_000)
    parser.add_argument("--charges", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        if given.kills:
            kill(Path(folder), given.kills, given.seed)
        else:
            for splits in ("nested", "drawn"):
                reserve(Path(folder) / splits, splits, given)


def kill(folder: Path, kills: int, seed: int) -> None:
    """Trials until `kills` processes have died."""
    died = trials = 0
    while died < kills:
        place = folder / str(trials // FRESH)
        place.mkdir(exist_ok=True)
        died += Trial(place, seed=seed * 1_000_000 + trials).run()
        trials += 1
    print(f"{died} processes killed in {trials} trials: nothing used was forgotten, no charge was torn")


def reserve(folder: Path, splits: str, given: argparse.Namespace) -> None:
    """`runs` runs that share `charges`, one optimiser step each; every reservation timed, those of a new set of
    patients too. "nested": the archive grows from run to run, as it does; "drawn": each run trains on patients of its
    own choice, so that nearly all of them have a history of their own, the worst case."""
    ledger, chance = Ledger(folder / "ledger.sqlite"), random.Random(0)  # noqa: S311  no secret
    everyone = [chance.randbytes(32) for _ in range(given.patients)]
    steps, taken, busy, bare = given.charges // given.runs, list[float](), list[float](), list[float]()
    disk = open_database(folder / "bare.sqlite", "CREATE TABLE row (x BLOB)", version=1)
    for run in range(given.runs):
        size = (
            given.patients * (run + given.runs) // (2 * given.runs) if splits == "nested" else given.patients * 7 // 10
        )
        patients = everyone[:size] if splits == "nested" else chance.sample(everyone, size)
        event = SampledGaussian(sampling_rate=0.01, noise_multiplier=1 + run / 10, steps=1, honest=2)
        for step in range(steps):
            purpose = Purpose(chance.randbytes(32), f"study {run // 2}", bytes([run // 2]) * 32, f"run {run}", step)
            asked = [*patients]  # as the site does: a list made for each plan
            started, worked = time.perf_counter(), time.process_time()
            ledger.reserve(asked, event, purpose, LIMITS, PROMISE)
            taken.append(time.perf_counter() - started)
            busy.append(time.process_time() - worked)
            started = time.perf_counter()
            with transaction(disk):
                disk.execute("INSERT INTO row VALUES (?)", (bytes(200),))
            bare.append(time.perf_counter() - started)
    _print(f"{splits}: all", taken)
    _print("  the last thousand", taken[-1000:])
    _print("  the first of each run", taken[::steps])
    _print("  of which this process was at work", busy)
    _print("  one row put on the same disk, nothing else", bare)
    disk.close()
    ledger.close()
    for what in ("opened, and asked for ε", "a statement"):
        started = time.perf_counter()
        again = Ledger(folder / "ledger.sqlite")
        _ = again.epsilon(1e-5) if what != "a statement" else again.statement(1e-5)
        print(f"  {what}: {time.perf_counter() - started:.2f} s")
        again.close()


def _print(what: str, seconds: Sequence[float]) -> None:
    ordered = sorted(seconds)
    last = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    print(
        f"{what}: {len(ordered)} reservations, median {statistics.median(ordered) * 1e3:.2f} ms,"
        f" p99 {last * 1e3:.2f} ms, longest {ordered[-1] * 1e3:.0f} ms"
    )


if __name__ == "__main__":
    main()
