"""Seconds per round beyond the slowest hospital's own work: Konsil beside a plain Flower FedAvg app.

Three daemons on loopback, TLS and node keys, a model of 10 M parameters; the same model, images and local steps on
both sides, one after the other. Konsil makes three trips for every sum (the masked vector, the survivors confirmed,
the unmasking) and plain Flower one; each trains and evaluates once a round.

    python benchmarks/federation.py [--rounds 3] [--hidden 2434] [--out FOLDER] [--skip plain]
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from plain import PlainFlower, Round, write_images
from rich.console import Console
from trial import TEN_MILLION, study_text, trial_archives, trial_study
from trips import print_trips

from server.report.result import Result
from shared.network_size import parameters_of
from simulations.processes import Processes, found, run_study, up

KINDS = ("open", "private", "plain")


def konsil(federation: Processes, text: str, console: Console) -> Result:
    """One run of the study over the federation's daemons."""
    study = federation.out / "study.toml"
    study.write_text(text)
    with up(federation):
        return run_study(federation, study, console)


def rounds_of(result: Result) -> list[Round]:
    return [Round(row.seconds, row.slowest_site_s) for row in result.rounds.each]


def plain(federation: Processes, rounds: int, hidden: int, images: tuple[int, int]) -> list[Round]:
    """The plain app, with as many images at every hospital."""
    folder = federation.out / "plain"
    folder.mkdir(exist_ok=True)
    study = folder / "study.toml"
    study.write_text(study_text(rounds=rounds, hidden=hidden))
    files = write_images(folder, trial_study(rounds=rounds, hidden=hidden), federation.names, *images)
    return PlainFlower(folder, federation).run(study, files)


def show(what: str, rounds: Sequence[Round], beside: Sequence[Round] = ()) -> None:
    """One line: medians over the rounds, and how much of the other's overhead ours is."""
    overhead = statistics.median(each.overhead_s for each in rounds)
    ratio = f"{overhead / statistics.median(each.overhead_s for each in beside):8.2f}" if beside else ""
    seconds = statistics.median(each.seconds for each in rounds)
    slowest = statistics.median(each.slowest_site_s for each in rounds)
    print(f"{what:24}{seconds:10.2f}{slowest:14.2f}{overhead:12.2f}{ratio}")


def measure(out: Path, options: argparse.Namespace) -> None:
    console = Console()
    federation = found(out / "federation", trial_archives(out / "archives"), tell=console.print)
    found_rounds: dict[str, list[Round]] = {}
    images = (16, 8)
    for kind in ("open", "private"):
        if kind not in options.skip:
            text = study_text(rounds=options.rounds, hidden=options.hidden, private=kind == "private")
            result = konsil(federation, text, console)
            found_rounds[kind] = rounds_of(result)
            print_trips(federation, result)
            splits, sites = result.sites.images.splits, len(federation.names)
            images = (splits["train"] // sites, splits["validation"] // sites)
    if "plain" not in options.skip:
        console.print("plain Flower", highlight=False)
        found_rounds["plain"] = plain(federation, options.rounds, options.hidden, images)
    study = trial_study(rounds=options.rounds, hidden=options.hidden)
    size = f"{parameters_of(study):,} parameters, {len(federation.names)} hospitals"
    print(f"\n{size}, median of {options.rounds} rounds")
    print(f"{'seconds per round':24}{'all':>10}{'slowest site':>14}{'overhead':>12}{'ratio':>8}")
    beside = found_rounds.pop("plain", [])
    if beside:
        show("plain Flower, FedAvg", beside)
    for kind, rounds in found_rounds.items():
        show(f"Konsil, {kind}", rounds, beside)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=TEN_MILLION, help="units of the dense layer: the model's size")
    parser.add_argument("--out", type=Path, help="keep everything there, and use again what is there")
    parser.add_argument("--skip", nargs="*", choices=KINDS, default=[])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() if options.out is None else nullcontext(str(options.out)) as folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        measure(Path(folder).resolve(), options)


if __name__ == "__main__":
    main()
