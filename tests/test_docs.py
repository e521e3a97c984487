"""What the README and the architecture page say is so."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def blocks(path: Path) -> list[str]:
    return re.findall(r"```sh\n(.*?)```", path.read_text("utf-8"), flags=re.DOTALL)


def test_every_make_target_named_in_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"\bmake ([a-z]+)", (ROOT / "README.md").read_text("utf-8")))
    assert {"demo", "test", "check", "bench"} <= named
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in named)


def test_the_readmes_own_study_runs_as_written(tmp_path: Path) -> None:
    """Under Flower's real simulation engine, with real DICOM, privacy and masks."""
    (tmp_path / "docs").mkdir()
    shutil.copytree(ROOT / "docs" / "studies", tmp_path / "docs" / "studies")
    (script,) = [block for block in blocks(ROOT / "README.md") if "konsil-simulate run" in block]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 hospitals trained" in done.stdout
    assert "unbroken" in done.stdout
    assert (tmp_path / "first-run" / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_links_and_paths_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    paths = re.findall(r"`((?:server|client|shared|simulations)/[\w/]+\.(?:py|toml))`", text)
    for target in links:
        assert (ROOT / page).parent.joinpath(target).exists(), target
    for target in paths:
        assert (ROOT / target).exists(), target


def test_names_in_the_architecture_page_are_in_the_code() -> None:
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    code = "\n".join(
        p.read_text("utf-8")
        for room in ("server", "client", "shared", "simulations")
        for p in (ROOT / room).rglob("*.py")
    )
    names = {
        name for dotted in re.findall(r"`[\w/]*\.?([A-Za-z_.]+)`", text) for name in dotted.split(".") if len(name) > 3
    }
    unknown = {name for name in names if name.lower() not in {"readme", "toml", "json", "html"} and name not in code}
    assert not unknown
