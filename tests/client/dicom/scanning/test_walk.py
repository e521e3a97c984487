import os
from pathlib import Path

import pytest

from client.dicom.scanning import walk
from client.dicom.scanning.walk import File, count, listed, pages
from shared.errors import InputError


def files_of(archive: Path, ignore: Path | None = None) -> list[File]:
    return [file for page in pages(archive, [ignore] if ignore else ()) for file in page.files]


def faults_of(archive: Path) -> dict[str, str]:
    return {file.path: file.fault for file in files_of(archive)}


def test_walk_ends_whatever_links_point_where(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    (archive / "b" / "c").mkdir(parents=True)
    (archive / "b" / "c" / "ü.dcm").write_bytes(b"x")
    (archive / "b" / "up").symlink_to(archive, target_is_directory=True)
    (archive / "b" / "again").symlink_to(archive / "b" / "c", target_is_directory=True)
    (archive / "self").symlink_to(archive / "self")
    (archive / "nowhere").symlink_to(tmp_path / "none")
    os.mkfifo(archive / "pipe")
    (archive / os.fsdecode(b"bad\xff.dcm")).write_bytes(b"y")
    found = faults_of(archive)
    assert found == {
        "b/again/ü.dcm": "",  # the folder by the name that comes first
        os.fsdecode(b"bad\xff.dcm"): "",
        "nowhere": "special_file",
        "pipe": "special_file",
        "self": "special_file",
    }


def test_the_order_follows_from_the_names(tmp_path: Path) -> None:
    for name in ("c/2", "a/1", "b", "a/0", "c/d/e"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert [file.path for file in files_of(tmp_path)] == ["b", "a/0", "a/1", "c/2", "c/d/e"]
    assert [page.name for page in pages(tmp_path)] == ["", "a", "c", "c/d"]


@pytest.mark.parametrize(("name", "got"), [("none", "a path that does not exist"), ("notes.txt", "another file")])
def test_walk_needs_a_folder_a_zip_or_a_dicomdir(tmp_path: Path, name: str, got: str) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=rf"expected a folder, a \.zip or a DICOMDIR, got {got}\."):
        list(pages(tmp_path / name))


def test_a_dicomdir_stands_for_its_folder(tmp_path: Path) -> None:
    (tmp_path / "DICOMDIR").write_text("x")
    (tmp_path / "IM0").write_text("x")
    assert [file.path for file in files_of(tmp_path / "DICOMDIR")] == ["DICOMDIR", "IM0"]


def test_what_is_ignored_is_ignored_under_any_name(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("x")
    (tmp_path / "link.csv").symlink_to(tmp_path / "labels.csv")
    (tmp_path / "a.dcm").write_text("x")
    assert [file.path for file in files_of(tmp_path, tmp_path / "labels.csv")] == ["a.dcm"]


def test_a_folder_that_cannot_be_entered_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "shut").mkdir()
    (tmp_path / "open" / "a.dcm").write_text("x")
    listdir = os.listdir

    def refuse(folder: Path) -> list[str]:
        if folder.name == "shut":
            raise PermissionError
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", refuse)
    assert faults_of(tmp_path) == {"open/a.dcm": "", "shut": "special_file"}


def test_folders_nested_deeper_than_any_path_end(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_text("x")
    descriptor = os.open(tmp_path, os.O_RDONLY)
    for _ in range(30):  # 30 × 200 characters: more than PATH_MAX
        os.mkdir("d" * 200, dir_fd=descriptor)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(os.open("b.dcm", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.close(descriptor)
    found = faults_of(tmp_path)
    assert found.pop("a.dcm") == ""
    assert list(found.values()) == ["special_file"]  # what lies too deep, as one file
    assert count(tmp_path) >= 1


@pytest.mark.parametrize("name", ["line\nend", "\u202eright to left", "x" * 255, "-rf", " ", "C:\\a", "%00"])
def test_names_are_only_names(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")
    assert faults_of(tmp_path) == {name: ""}


def test_a_huge_folder_is_many_pages_that_stay_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "FOLDER_LIMIT", 20)
    for number in range(40):
        (tmp_path / f"{number}.dcm").write_text("x")
    before = {page.name: page.files for page in pages(tmp_path)}
    assert len(before) > 10
    assert sorted(file.path for files in before.values() for file in files) == sorted(f"{n}.dcm" for n in range(40))
    (tmp_path / "new.dcm").write_text("x")
    after = {page.name: page.files for page in pages(tmp_path)}
    assert len([name for name in after if after[name] != before.get(name)]) == 1


def test_a_zip_that_is_none_is_one_file_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text("nothing of the kind")
    (page,) = pages(tmp_path)
    assert page.container
    assert [file.fault for file in listed(page, tmp_path).files] == ["unsafe_container"]


def test_the_count_is_about_right(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("a", "b/c", "b/d.zip"):
        (tmp_path / name).write_text("x")
    assert count(tmp_path) == 3
    assert count(tmp_path / "b" / "d.zip") == 1
