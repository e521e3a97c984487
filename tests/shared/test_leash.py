import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shared import leash
from shared.supervise import python

SLEEP = (sys.executable, "-S", "-c", "print('on', flush=True); import time; time.sleep(60)")


def alive(pid: int) -> bool:
    path = Path("/proc") / str(pid) / "stat"
    return path.exists() and path.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_whoever_kills_the_parent_kills_the_program() -> None:
    """A parent that starts a leashed sleeper and tells its number; killed, it takes the sleeper along."""
    parent = (
        "import os, subprocess, sys; from shared.supervise import python;"
        "child = subprocess.Popen(python('shared.leash', str(os.getpid()), *sys.argv[1:]), stdout=subprocess.PIPE);"
        "child.stdout.readline(); print(child.pid, flush=True); child.wait()"
    )
    with subprocess.Popen([sys.executable, "-P", "-c", parent, *SLEEP], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        sleeper = int(process.stdout.readline())
        assert alive(sleeper)
        process.send_signal(signal.SIGKILL)
    end = time.monotonic() + 20
    while alive(sleeper):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_parent_that_is_gone_already_starts_nothing(tmp_path: Path) -> None:
    command = python("shared.leash", "1", sys.executable, "-c", f"open({str(tmp_path / 'x')!r}, 'w')")
    assert subprocess.run(command, timeout=20, check=False).returncode == 1
    assert not (tmp_path / "x").exists()


def test_the_program_takes_the_leashs_place_and_keeps_its_words() -> None:
    words = ["a b", "", "ä", "-x"]
    show = [sys.executable, "-S", "-c", "import os, sys; print(os.getpid(), sys.argv[1:])", *words]
    with subprocess.Popen(
        python("shared.leash", str(os.getpid()), *show), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read() == f"{process.pid} {words}\n"


def test_a_kernel_that_refuses_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leash, "PR_SET_PDEATHSIG", 12345678)
    with pytest.raises(OSError, match="prctl"):
        leash.main(["/bin/true"], os.getppid())
