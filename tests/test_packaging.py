"""The wheel, the Flower bundle and the names they use."""

import io
import subprocess
import sys
import zipfile
from importlib.metadata import distributions, packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("server", "client", "shared", "simulations")


def test_nobody_else_owns_our_names() -> None:
    owners = packages_distributions()
    assert {room: sorted(set(owners.get(room, ["konsil"]))) for room in ROOMS} == {room: ["konsil"] for room in ROOMS}


def test_the_flower_bundle_carries_no_code() -> None:
    script = (
        "import sys; from pathlib import Path; from flwr.cli.build import build_fab_from_disk\n"
        "sys.stdout.buffer.write(build_fab_from_disk(Path(sys.argv[1])))"
    )
    data = subprocess.run([sys.executable, "-c", script, ROOT], check=True, capture_output=True).stdout
    with zipfile.ZipFile(io.BytesIO(data)) as bundle:
        names = set(bundle.namelist())
    assert "README.md" in names
    assert not [name for name in names if name.endswith(".py")]


def test_the_wheel_holds_the_four_rooms_and_their_files(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT],
        check=True,
    )
    (wheel,) = tmp_path.glob("konsil-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if not name.startswith("konsil-")} == set(ROOMS)
    assert "server/report/report.html.j2" in names
    assert "simulations/demo.toml" in names


def test_every_installed_licence_of_a_decoder_is_permissive() -> None:
    names = {(d.metadata["Name"] or "").lower() for d in distributions()}
    assert "pylibjpeg-libjpeg" not in names, "GPL: an opt-in of the hospital, never ours"
