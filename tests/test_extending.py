"""docs/extending.md is done as it is written, in a copy of Konsil: one file, one line, the contract, a federation."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "extending.md").read_text("utf-8")
FILE = re.compile(r"`([\w.]+)` in `([\w/]+)`:\n\n```(?:python|toml)\n(.*?)```", re.DOTALL)
LINE = re.compile(r"A line in `(\w+)` of `([\w/.]+)`:\n\n```python\n(.*?)```", re.DOTALL)
#: A federation of two hospitals that learns with what the page adds, in one process.
RUN = """
import sys
from pathlib import Path
import shared.models.registry
from shared.study import parse_study
from simulations.hospital import PROFILES, write_hospital
from simulations.faults import LocalLink
from simulations.local import LocalFederation

here = Path(sys.argv[1])
assert Path(shared.models.registry.__file__).is_relative_to(here), shared.models.registry.__file__
names = ("alder", "birch")
for seed, name in enumerate(names):
    write_hospital(here / name, patients=14, seed=seed, profile=PROFILES[name])
study = parse_study((here / "study.toml").read_text())
federation = LocalFederation.make(here / "federation", {name: here / name for name in names}, study)
_, result = federation.run(LocalLink(federation.sites()), study)
print(result.status, result.judged.kind, result.judged.headline.name, result.judged.headline.value is not None)
"""
STUDY = """
name = "added"
[task]
kind = "grading"
labels = ["clear", "nodule"]
[input]
modalities = ["DX", "CR"]
size = [16, 16]
[model]
name = "bag"
[model.options]
width = 4
[training]
rounds = 1
batch = 4
local_steps = 2
learning_rate = 0.05
[federation]
min_sites = 2
timeout_s = 60.0
max_images = 1000
[privacy]
mode = "off"
[aggregation]
colluders = 0
[evaluation]
test = 0.3
validation = 0.3
"""


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of Konsil with what the page adds, and nothing else."""
    folder = tmp_path_factory.mktemp("overlay")
    for room in ("server", "client", "shared", "simulations", "tests"):
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__", "vectors", "fuzz"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name, where, content in FILE.findall(TEXT):
        assert not (folder / where / name).exists(), name
        (folder / where / name).write_text(content)
    for mapping, where, line in LINE.findall(TEXT):
        text = (folder / where).read_text()
        changed = re.sub(rf"^({mapping}: .*\{{\n)", rf"\g<1>{line}", text, flags=re.MULTILINE)
        assert changed != text, mapping
        (folder / where).write_text(changed)
    return folder


def run(overlay: Path, *command: str) -> str:
    own = os.environ | {"PYTHONPATH": str(overlay), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=overlay, env=own, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_the_page_has_two_files_a_study_and_two_lines() -> None:
    assert [(name, where) for name, where, _ in FILE.findall(TEXT)] == [
        ("bag.py", "shared/models"), ("grading.py", "shared/tasks"), ("grading.toml", "tests/shared/tasks/studies"),
    ]  # fmt: skip
    assert [mapping for mapping, _, _ in LINE.findall(TEXT)] == ["MODELS", "KINDS"]


def test_what_the_page_adds_passes_the_contracts(overlay: Path) -> None:
    suites = {"tests/shared/models/test_registry.py": "bag", "tests/shared/tasks/test_kinds.py": "grading"}
    for suite, name in suites.items():
        assert f"python -m pytest {suite} -k {name}" in TEXT
    told = run(overlay, "-m", "pytest", *suites, "-k", "bag or grading", "-vv", "-p", "no:cacheprovider")
    for name, least in (("[bag", 5), ("[grading]", 18)):
        assert len(re.findall(rf"{re.escape(name)}.* PASSED", told)) >= least, told


def test_what_the_page_adds_learns_in_a_federation(overlay: Path) -> None:
    (overlay / "study.toml").write_text(STUDY)
    told = run(overlay, "-c", RUN, str(overlay))
    assert told.splitlines()[-1] == "finished grading mean_absolute_error True"
