import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors import InputError, SiteError
from shared.files import folder_as_owner, open_as_owner, private_folder, write_atomically

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


def test_replaces_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_atomically(path, b"one")
    write_atomically(path, b"two", mode=0o600)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    script = (
        "import resource, signal, sys; from pathlib import Path; from shared.files import write_atomically\n"
        "from shared.errors import SiteError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_atomically(Path(sys.argv[1]), bytes(5000))\n"
        "except SiteError as error: print(error); sys.exit(7)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 7
    assert "5000 bytes on disk" in done.stdout
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_an_impossible_place_is_a_site_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SiteError, match="Free space or correct the permissions"):
        write_atomically(tmp_path / "file" / "below", b"x")


def test_a_mode_is_set_on_the_file_itself_and_never_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def by_name(*_: object, **__: object) -> None:
        raise AssertionError("another file may have that name by now")

    monkeypatch.setattr(Path, "chmod", by_name)
    monkeypatch.setattr(os, "chmod", by_name)
    write_atomically(tmp_path / "file", b"x", mode=0o640)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_a_private_folder_is_its_owners_alone_even_if_it_was_there(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(mode=0o755)
    assert private_folder(tmp_path / "a").stat().st_mode & 0o777 == 0o700
    assert private_folder(tmp_path / "b", 0o711).stat().st_mode & 0o777 == 0o711
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="Choose another"):
        private_folder(tmp_path / "file")


@needs_root
def test_what_root_makes_as_owner_is_the_folders_owners(tmp_path: Path) -> None:
    os.chown(tmp_path, 64001, 64002)
    write_atomically(tmp_path / "given", b"", mode=0o600, as_owner=True)
    write_atomically(tmp_path / "kept", b"", mode=0o600)
    os.close(open_as_owner(tmp_path / "opened", os.O_WRONLY))
    folder_as_owner(tmp_path / "folder")
    found = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in tmp_path.iterdir()}
    theirs = (64001, 64002)
    assert found == {"given": theirs, "opened": theirs, "folder": theirs, "kept": (0, 0)}
    assert (tmp_path / "opened").stat().st_mode & 0o777 == 0o600


@needs_root
def test_root_gives_away_nothing_that_a_trap_leads_to(tmp_path: Path) -> None:
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    (mine / "folder").mkdir(parents=True)
    (mine / "file").touch()
    theirs.mkdir()
    os.chown(theirs, 64001, 64001)
    (theirs / "link").symlink_to(mine / "file")
    (theirs / "dangling").symlink_to(mine / "new")
    (theirs / "folder").symlink_to(mine / "folder")
    (theirs / "hard").hardlink_to(mine / "file")
    for name in ("link", "dangling"):
        with pytest.raises(OSError, match="symbolic link"):
            open_as_owner(theirs / name, os.O_WRONLY)
    with pytest.raises(OSError, match="Not a directory"):
        folder_as_owner(theirs / "folder")
    os.close(open_as_owner(theirs / "hard", os.O_WRONLY))
    assert {path.name: path.stat().st_uid for path in mine.iterdir()} == {"folder": 0, "file": 0}
