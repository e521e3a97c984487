"""What a simulation says before anything is trained, of archives that lack what a task needs."""

import csv
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from client.dicom.archive import prepare
from shared.errors import InputError
from shared.study import MINIMAL, Study, parse_study
from shared.tasks.registry import kind_of
from simulations.hospital import PROFILES, write_hospital
from simulations.sites import SimulatedSite, check_archives, check_labels, has_labels

TWO = 'labels = ["clear", "nodule"]'
MASKS = 'kind = "segmentation"\nlabels = ["nodule"]'
BOXES = 'kind = "detection"\nlabels = ["nodule"]'
VALUE = 'kind = "regression"\nlabels = ["weight"]\n[task.options]\nminimum = 0\nmaximum = 1'
EACH = 'kind = "multilabel"\nlabels = ["nodule left", "effusion"]'

Change = Callable[[Mapping[str, str]], Mapping[str, str]]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sites") / "alder"
    write_hospital(folder, patients=4, seed=1, profile=PROFILES["alder"])
    return folder


def study_of(task: str) -> Study:
    model = '[model]\nname = "retinanet"' if task == BOXES else '[model]\nname = "cnn"'
    return parse_study(MINIMAL.replace(TWO, task).replace('[model]\nname = "cnn"', model))


def table(archive: Path, home: Path, columns: str, change: Change = dict) -> Path:
    """The archive's own table with some of its columns, or changed cells."""
    with (archive / "labels.csv").open(newline="") as file:
        rows = [change(row) for row in csv.DictReader(file)]
    with (home / "labels.csv").open("w", newline="") as file:
        written = csv.DictWriter(file, columns.split(","), extrasaction="ignore")
        written.writeheader()
        written.writerows(rows)
    return home / "labels.csv"


@pytest.mark.parametrize(
    ("task", "columns", "words"),
    [
        (MASKS, "sop_instance_uid,label", "a column 'mask', or one for each label (mask nodule), got label, sop"),
        (BOXES, "sop_instance_uid,label", "a column 'boxes' or 'mask', got label, sop_instance_uid. Add one"),
        (VALUE, "sop_instance_uid,label", "a column 'weight', got sop_instance_uid, label. Add or name it."),
        (EACH, "sop_instance_uid,nodule left", "each finding (nodule left, effusion), got sop_instance_uid, nodule"),
        (EACH, "sop_instance_uid,nodule left", "Add 'effusion'."),
        (TWO, "sop_instance_uid,age", "a column 'label' or a column for a finding (clear, nodule)"),
    ],
)
def test_a_table_without_what_the_task_needs_is_told_what(
    archive: Path, tmp_path: Path, task: str, columns: str, words: str
) -> None:
    source, study = table(archive, tmp_path, columns), study_of(task)
    with pytest.raises(InputError) as refused:
        prepare(archive, source, tmp_path, key=bytes(32), study=study, target=kind_of(study).target)
    assert words in str(refused.value)


def test_a_column_of_empty_cells_is_told_so(archive: Path, tmp_path: Path) -> None:
    source = table(archive, tmp_path, "sop_instance_uid,mask", lambda row: {**row, "mask": ""})
    with pytest.raises(InputError, match=r"column 'mask': expected cells with something in them, got none\. Fill it"):
        prepare(archive, source, tmp_path, key=bytes(32), study=study_of(MASKS), target="mask")


def test_labels_that_no_hospital_has_are_named(archive: Path, tmp_path: Path) -> None:
    study = study_of(EACH)
    source = table(archive, tmp_path, "sop_instance_uid,label")
    images, _ = prepare(archive, source, tmp_path, key=bytes(32), study=study, target="classes")
    assert not has_labels(study, images.target), "the one column names other findings"
    assert has_labels(study, images.target + 1)
    home = None
    without = SimulatedSite("alder", home, len(images.target), labelled=False)  # type: ignore[arg-type]  # not looked at
    with pytest.raises(InputError, match='one of "nodule left", "effusion" on an image of some hospital'):
        check_labels([without, without], study)
    check_labels([without, SimulatedSite("birch", home, 1)], study)  # type: ignore[arg-type]  # likewise


def test_a_task_without_labels_is_never_short_of_them(archive: Path, tmp_path: Path) -> None:
    study = study_of('kind = "registration"\nlabels = []')
    images, _ = prepare(archive, tmp_path / "none.csv", tmp_path, key=bytes(32), study=study, target="none")
    assert has_labels(study, images.target)
    check_archives({"alder": archive, "birch": archive}, study)
