import os
from pathlib import Path

import pytest

from client.dicom.scanning.walk import walk
from shared.errors import InputError


def test_walk_ends_whatever_links_point_where(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    (archive / "b" / "c").mkdir(parents=True)
    (archive / "b" / "c" / "ü.dcm").write_bytes(b"x")
    (archive / "b" / "up").symlink_to(archive, target_is_directory=True)
    (archive / "self").symlink_to(archive / "self")
    (archive / "nowhere").symlink_to(tmp_path / "none")
    os.mkfifo(archive / "pipe")
    (archive / os.fsdecode(b"bad\xff.dcm")).write_bytes(b"y")
    files = {file.path: file.regular for file in walk(archive)}
    assert files == {
        "b/c/ü.dcm": True,
        os.fsdecode(b"bad\xff.dcm"): True,
        "nowhere": False,
        "pipe": False,
        "self": False,
    }
    assert [file.path for file in walk(archive)] == sorted(files, key=os.fsencode)


def test_walk_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder with DICOM files"):
        walk(tmp_path / "none")


def test_what_is_ignored_is_ignored_under_any_name(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("x")
    (tmp_path / "link.csv").symlink_to(tmp_path / "labels.csv")
    (tmp_path / "a.dcm").write_text("x")
    assert [file.path for file in walk(tmp_path, tmp_path / "labels.csv")] == ["a.dcm"]


def test_a_folder_that_cannot_be_entered_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "shut").mkdir()
    (tmp_path / "open" / "a.dcm").write_text("x")
    scandir = os.scandir

    def refuse(folder: Path) -> object:
        if folder.name == "shut":
            raise PermissionError
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    assert {file.path: file.regular for file in walk(tmp_path)} == {"open/a.dcm": True, "shut": False}
