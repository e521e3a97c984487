"""Studies and archives of the federation's benchmarks: one small task, at the size of model that is wanted."""

from pathlib import Path

from shared.study import Study, parse_study
from simulations.hospital import PROFILES, write_hospital

#: Units of the dense layer that make 10,000,488 parameters; and a tiny model.
TEN_MILLION, TINY = 2434, 8

_STUDY = """
name = "benchmark"
[task]
labels = ["clear", "nodule"]
[input]
modalities = ["DX", "CR"]
size = [64, 64]
[model]
name = "cnn"
[model.options]
width = 16
pooling = "flatten"
hidden = {hidden}
[training]
rounds = {rounds}
batch = 4
local_steps = 4
learning_rate = 0.001
[federation]
min_sites = {sites}
timeout_s = {timeout_s}.0
max_images = 1000
[evaluation]
test = 0.2
validation = 0.3
[privacy]
"""
_OFF = 'mode = "off"\n'
_PRIVATE = 'mode = "local"\nepsilon = 8.0\ndelta = 1e-5\nclip = 1.0\nsampling_rate = 0.2\n'


def study_text(
    *, rounds: int, hidden: int = TEN_MILLION, sites: int = 3, private: bool = False, timeout_s: int = 300
) -> str:
    """A study file: four steps of four patients a round, then an evaluation."""
    return _STUDY.format(hidden=hidden, rounds=rounds, sites=sites, timeout_s=timeout_s) + (
        _PRIVATE if private else _OFF
    )


def trial_study(*, rounds: int, hidden: int = TEN_MILLION, sites: int = 3, private: bool = False) -> Study:
    """The study of `study_text`."""
    return parse_study(study_text(rounds=rounds, hidden=hidden, sites=sites, private=private))


def trial_archives(folder: Path, *, patients: int = 24, sites: int = 3) -> dict[str, Path]:
    """An archive per hospital under `folder`, drawn unless it is there already; returns them by name."""
    archives = {name: folder / name for name in list(PROFILES)[:sites]}
    for seed, (name, archive) in enumerate(archives.items()):
        if not archive.exists():
            write_hospital(archive, patients=patients, seed=seed, profile=PROFILES[name])
    return archives
