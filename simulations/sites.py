"""Hospitals on one machine: a Konsil home for each archive, as a hospital's own people would set one up."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

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
adversary = "semi-honest"
colluders = 0
[evaluation]
per_site_figures = true
per_site_counts = true
[studies]
ask = false                 # whoever starts the simulation has agreed to its study
"""

#: stage ("scan" or "decode"), done, in all
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class SimulatedSite:
    """One hospital: its name, its home, and how many images the study can use."""

    name: str
    home: Home
    images: int


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
    prepared = prepare_for(home, study, progress)
    return SimulatedSite(name, home, len(prepared.images.target))


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
