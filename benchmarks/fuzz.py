"""Hostile inputs for every decoder that reads bytes from outside: clear errors, bounded time and memory, no crash.

    python benchmarks/fuzz.py [--inputs 1000000] [--target NAME]... [--seed 1] [--workers 2] [--atheris]

Each worker is a process of its own: an input that kills or hangs it is found and told like any other. The figures are
processor time and the largest resident memory above what the process held before; `ended` counts inputs that ended a
process made for that (tests/fuzz/apart.py). Exit 1 if a decoder did wrong; the
shortest input that did it is printed in hex. The same seed gives the same inputs.

With --atheris the inputs are chosen by the coverage they reach, if that package is there (it is no dependency).
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from fuzz_crew import Run, conduct, planned
from fuzz_guided import atheris, guided
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from tests.fuzz.engine import Tally
from tests.fuzz.targets import targets

#: Characters of hex that are printed; the whole is in the file of --out.
SHOWN_HEX = 400
#: Columns of the table.
WIDTH = 130


def table_of(run: Run) -> Table:
    """One line per target, and the sum; the record classes together."""
    found = Table(
        "target",
        "inputs",
        "inputs/s",
        "decoded",
        "refused",
        "ended",
        "slowest",
        "peak",
        "faults",
        title=f"seed {run.seed}",
    )
    for column in found.columns[1:]:
        column.justify = "right"
    records, others, whole = Tally(), list[tuple[str, Tally]](), Tally()
    for name, tally in run.tallies.items():
        whole.add(tally)
        if name.startswith("record "):
            records.add(tally)
        else:
            others.append((name, tally))
    classes = sum(name.startswith("record ") for name in run.tallies)
    lines = [(f"{classes} record classes", records)] * bool(classes)
    for name, tally in (*lines, *sorted(others), ("all", whole)):
        found.add_row(
            name,
            f"{tally.inputs:,}",
            f"{tally.inputs / max(tally.seconds, 1e-9):,.0f}",
            f"{tally.decoded:,}",
            f"{tally.refused:,}",
            f"{tally.ended:,}",
            f"{1000 * tally.slowest_s:,.0f} ms",
            f"{tally.peak_mb:,.0f} MB",
            str(len(tally.faults)),
        )
    return found


def faults_of(run: Run) -> list[dict[str, Any]]:
    """What was found, as JSON would have it."""
    return [
        {"target": name, "kind": fault.kind, "place": fault.place, "hex": fault.data.hex(), "detail": fault.detail}
        for name, tally in sorted(run.tallies.items())
        for fault in tally.faults.values()
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--target", action="append", default=[], help="part of a target's name; again for more")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, help="also write the faults there, as JSON")
    parser.add_argument("--list", action="store_true", help="the targets, and what they cover")
    parser.add_argument("--atheris", action="store_true", help="guided by coverage; needs the package atheris")
    parser.add_argument("--guided", metavar="NAME", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    options = _options()
    every = targets()
    chosen = [t for t in every.values() if not options.target or any(part in t.name for part in options.target)]
    if options.guided:
        guided(options.guided, options.inputs, options.seed)
        return 0
    if options.list or not chosen:
        print("\n".join(f"{target.name}: {', '.join(target.covers)}" for target in every.values()))
        return 0 if options.list else 2
    if options.atheris:
        return atheris(chosen, options.inputs, options.seed)
    console, run, jobs = Console(width=WIDTH), Run(options.seed), planned(chosen, options.inputs)
    columns = (
        TextColumn("{task.description:<32}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=sum(job.count for job in jobs))
        conduct(run, jobs, options.workers, lambda name, count: bar.update(task, description=name[:32], advance=count))
    console.print(table_of(run))
    faults = faults_of(run)
    for fault in faults:
        console.print(f"{fault['target']}: {fault['kind']} {fault['place']}", style="bold red", markup=False)
        console.print(fault["detail"], markup=False, highlight=False)
        console.print(
            f"hex: {fault['hex'][:SHOWN_HEX]}{'…' * (len(fault['hex']) > SHOWN_HEX)}", markup=False, highlight=False
        )
    if options.out is not None:
        options.out.write_text(json.dumps(faults, indent=1) + "\n")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
