"""Every study of docs/studies, run by the very commands that its first lines give.

    .venv/bin/python benchmarks/studies.py [NAME ...]      # all that need no data of anybody's: about half an hour

A study whose commands name archives of your own (upper-case words) or real pictures is left out, and said to be.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from server.report.heads import head_of
from server.report.result import read_result

STUDIES = Path(__file__).resolve().parents[1] / "docs" / "studies"
#: What only the reader can put there.
OWN = re.compile(r"[A-Z]{4,}|\b[abc]=[A-Z]|\.zip\b|=clinic-")
#: What the reader may put there, and the study goes without.
ALSO = re.compile(r"\btheirs\.")


def commands_of(path: Path) -> list[str]:
    """The indented lines of the comment that a study begins with, continued ones joined."""
    head = path.read_text("utf-8").split("\nname =")[0]
    lines = [line[1:].strip() for line in head.splitlines() if re.match(r"#\s{3,}\S", line)]
    return [line for line in "\n".join(lines).replace("\\\n", " ").splitlines() if not ALSO.search(line)]


def ran(path: Path) -> str:
    """What came of its commands, in one line."""
    commands = commands_of(path)
    if not commands or any(OWN.search(command) for command in commands):
        return "needs data of your own"
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "docs").symlink_to(STUDIES.parent)
        path_of = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        script = "set -euo pipefail\n" + "\n".join(commands)
        done = subprocess.run(
            ["bash", "-c", script], cwd=folder, env=os.environ | {"PATH": path_of}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        if done.returncode:
            return f"FAILED: {done.stderr.strip().splitlines()[-1:] or done.stdout.strip().splitlines()[-1:]}"
        results = sorted(Path(folder).glob("*/result.json"), key=lambda found: found.stat().st_mtime)
        head = head_of(read_result(results[-1]))
    value = "none" if head.value is None else f"{head.value:.3f} {head.unit}".strip()
    return f"{head.shown} {value}, {time.monotonic() - started:.0f} s"


def main() -> None:
    names = sys.argv[1:] or [path.stem for path in sorted(STUDIES.glob("*.toml"))]
    for name in names:
        print(f"{name}: {ran(STUDIES / f'{name}.toml')}", flush=True)


if __name__ == "__main__":
    main()
