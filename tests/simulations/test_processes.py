import tempfile
from pathlib import Path

import pytest

from shared.errors import OperatorError
from simulations.processes import Processes


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the sockets' folder will be: in a system's folder of our own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return Processes(tmp_path / "out", ("alder",)).socket("alder").parent


def test_the_sockets_folder_is_this_users_alone(folder: Path, tmp_path: Path) -> None:
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o777 == 0o700
    assert Processes(tmp_path / "out", ("alder",)).socket("alder").parent == folder


@pytest.mark.parametrize("trap", ["open", "link", "file"])
def test_a_folder_that_others_made_or_may_enter_is_refused(folder: Path, tmp_path: Path, trap: str) -> None:
    if trap == "open":
        folder.chmod(0o770)
    else:
        folder.rename(tmp_path / "elsewhere")
        folder.touch() if trap == "file" else folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OperatorError, match="a folder of this user's alone, mode 0700"):
        Processes(tmp_path / "out", ("alder",)).socket("alder")
