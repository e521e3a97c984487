"""The four hospitals of the demo: their archives, written once."""

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from simulations.hospital import PROFILES, write_hospital

#: Patients of each hospital; unequal, as hospitals are.
PATIENTS = {"alder": 400, "birch": 400, "cedar": 400, "dogwood": 400}
SEED = 2026


def write_archives(folder: Path, console: Console) -> dict[str, Path]:
    """An archive per hospital under `folder`, unless it is there already; returns them by name."""
    archives = {name: folder / name for name in PATIENTS}
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        for index, (name, archive) in enumerate(archives.items()):
            task = bar.add_task(f"drawing {name}", total=PATIENTS[name])
            if not archive.exists():
                write_hospital(
                    archive,
                    patients=PATIENTS[name],
                    seed=SEED + index,
                    profile=PROFILES[name],
                    progress=lambda done, of, task=task: bar.update(task, completed=done, total=of),
                )
            bar.update(task, completed=PATIENTS[name])
    return archives
