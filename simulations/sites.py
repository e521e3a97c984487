"""Hospitals on one machine: a Konsil home for each archive, as a hospital's own people would set one up."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client.home import Home, make_keys
from client.workbench import prepare_for
from server.federation import Federation
from shared.errors import InputError
from shared.files import write_atomically
from shared.study import Study
from shared.tasks.registry import kind_of

#: What a simulated hospital allows unless its home holds a policy.toml already.
POLICY = """\
# This hospital's rules; a study never overrides them.
[privacy]
epsilon_total = 8.0
epsilon_per_study = 8.0
delta = 1e-5
least = "off"               # simulated or public images only
[aggregation]
min_cohort = 2
adversary = "none"          # a study may give masks up, as robust means must; the report says so first
colluders = 0
[evaluation]
per_site_figures = true
per_site_counts = true
[studies]
ask = false                 # whoever starts the simulation has agreed to its study
"""

#: Images whose labels are looked at together.
AT_ONCE = 64
#: stage ("scan" or "decode"), done, in all
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class SimulatedSite:
    """One hospital: its name, its home, how many images the study can use, and whether any of these has a label of the
    study, where it has labels."""

    name: str
    home: Home
    images: int
    labelled: bool = True


def check_archives(archives: Mapping[str, Path], study: Study) -> None:
    """Raise InputError for too few hospitals, or an archive without its labels where the task needs any."""
    needed = kind_of(study).target != "none"
    least = study.federation.min_sites
    if len(archives) < least:
        raise InputError(
            "sites", expected=f"at least federation.min_sites = {least}", got=str(len(archives)), do="Add --site."
        )
    for name, archive in archives.items():
        if not archive.is_dir():
            raise InputError(f"site {name}", expected="a folder", got=str(archive), do="Check the path.")
        if needed and not (archive / "labels.csv").is_file():
            raise InputError(
                f"site {name}", expected=f"{archive / 'labels.csv'}", got="no such file", do="Put the labels there."
            )


def open_site(
    folder: Path, name: str, archive: Path, federation: Federation, study: Study, *, device: str, progress: Progress
) -> SimulatedSite:
    """The hospital `name` in `folder`, made if it is new: keys and policy are never replaced."""
    home = Home(folder)
    make_keys(folder)
    config = (
        f'name = "{name}"\narchive = {_quoted(archive.resolve())}\n'
        f'labels = {_quoted((archive / "labels.csv").resolve())}\ndevice = "{device}"\n'
    )
    write_atomically(folder / "site.toml", config.encode())
    if not (folder / "policy.toml").exists():
        write_atomically(folder / "policy.toml", POLICY.encode())
    write_atomically(folder / "root.pub", federation.root_public)
    target = prepare_for(home, study, progress).images.target
    return SimulatedSite(name, home, len(target), has_labels(study, target))


def check_labels(sites: Sequence[SimulatedSite], study: Study) -> None:
    """Raise InputError where no hospital has an image with any of the study's labels: nothing could be learnt."""
    if not any(site.labelled for site in sites):
        labels = ", ".join(f'"{label}"' for label in study.task.labels)
        expected = f"one of {labels} on an image of some hospital, at least"
        raise InputError("task.labels", expected=expected, got="none on any", do="Spell them as the label files do.")


def has_labels(study: Study, target: NDArray[np.generic]) -> bool:
    """Looked at AT_ONCE images at a time, and no further than the first label."""
    kind, labels = kind_of(study), study.task.labels
    parts = (kind.presence(target[first : first + AT_ONCE]) for first in range(0, len(target), AT_ONCE))
    return not labels or any(bool(part.any()) or not part.shape[1] for part in parts)


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
