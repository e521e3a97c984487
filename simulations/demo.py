"""The four hospitals of the demo: their archives, written once."""

from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, TaskID

from shared.console import bars
from simulations.hospital import PROFILES, write_hospital

#: Patients of each hospital; unequal, as hospitals are.
PATIENTS = {"alder": 300, "birch": 280, "cedar": 260, "dogwood": 320}
SEED = 2026


def write_archives(folder: Path, console: Console) -> dict[str, Path]:
    """An archive per hospital under `folder`, unless it is there already; returns them by name."""
    archives = {name: folder / name for name in PATIENTS}
    with bars(console) as bar:
        for index, (name, archive) in enumerate(archives.items()):
            task = bar.add_task(f"{name}: draw", total=PATIENTS[name])
            if not archive.exists():
                write_hospital(
                    archive,
                    patients=PATIENTS[name],
                    seed=SEED + index,
                    profile=PROFILES[name],
                    progress=partial(_show, bar, task),
                )
            bar.update(task, completed=PATIENTS[name])
    return archives


def _show(bar: Progress, task: TaskID, done: int, of: int) -> None:
    bar.update(task, completed=done, total=of)
