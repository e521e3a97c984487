from collections import Counter
from pathlib import Path

import pytest
from msgspec.structs import replace

from client.images import Split
from client.workbench import prepare_for
from server.report.result import Result
from server.run import conduct, open_run, read_counts
from server.search.budget import spent_by
from shared.errors import InputError, OperatorError
from shared.study import MINIMAL, Study, parse_study
from shared.tasks.registry import kind_of
from simulations.faults import LocalLink
from simulations.folds import cross_validate, fold_study, held_out
from simulations.hospital import PROFILES, write_hospital
from simulations.local import LocalFederation, Recorder

STUDY = parse_study(
    MINIMAL.replace("size = [32, 32]", "size = [16, 16]").replace('["DX"]', '["DX", "CR"]')
    + "[aggregation]\ncolluders = 0\n[evaluation]\nvalidation = 0.2\n"
)
FOLDS = 3


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> LocalFederation:
    folder = tmp_path_factory.mktemp("folds")
    archives = {name: folder / "archives" / name for name in ("alder", "birch")}
    for name, archive in archives.items():
        write_hospital(archive, patients=18, seed=5, profile=PROFILES[name])
    return LocalFederation.make(folder, archives, STUDY)


def test_every_patient_is_held_out_once_and_in_one_part_of_a_fold(local: LocalFederation) -> None:
    for name in local.names:
        judged = Counter[bytes]()
        for fold in range(FOLDS):
            images = prepare_for(local.home(name), fold_study(STUDY, FOLDS, fold)).images
            parts = [{images.keys[p] for p in images.patients(split)} for split in Split]
            assert sum(map(len, parts)) == len(set().union(*parts)) == len(images.keys)
            judged.update(images.keys[p] for p in images.patients(Split.TEST))
        assert set(judged.values()) == {1}
        assert set(judged) == set(images.keys)


def test_all_folds_together_judge_every_image_once_and_go_on_where_they_were(
    local: LocalFederation, tmp_path: Path
) -> None:
    ran: list[str] = []

    def run(study: Study, folder: Path) -> Result:
        ran.append(study.name)
        start = open_run(folder, study, resume=False)
        return conduct(start, LocalLink(local.sites()), local.federation, Recorder())

    found = cross_validate(STUDY, FOLDS, tmp_path, run)
    assert ran == [f"minimal-fold-{fold}" for fold in (1, 2, 3)]
    images = sum(len(prepare_for(local.home(name), STUDY).images.target) for name in local.names)
    assert found.together.images == images == sum(one.images for one in found.each)
    assert found.spread > 0
    assert cross_validate(STUDY, FOLDS, tmp_path, run) == found
    assert len(ran) == FOLDS
    total = [sum(values) for values in zip(*(read_counts(tmp_path / f"fold-{k}").test for k in (1, 2, 3)), strict=True)]
    assert found.together == kind_of(STUDY).judge(total)
    for other, folds in ((STUDY, FOLDS + 1), (replace(STUDY, training=replace(STUDY.training, seed=9)), FOLDS)):
        with pytest.raises(InputError, match=r"fold 1 of .*got a run of 'minimal-fold-1', fold 1 of 3"):
            cross_validate(other, folds, tmp_path, run)
    assert len(ran) == FOLDS


def test_a_run_without_counts_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="the counts of a run"):
        read_counts(tmp_path)


def test_a_fold_that_was_not_judged_is_named(tmp_path: Path) -> None:
    (tmp_path / "counts.json").write_text('{"validation": [1, 2], "test": []}')
    with pytest.raises(OperatorError, match=r"expected figures of held-out patients, got none"):
        held_out(tmp_path)


def test_folds_of_a_private_study_share_its_epsilon() -> None:
    text = MINIMAL.replace('mode = "off"', 'mode = "local"\nepsilon = 4\ndelta = 1e-5\nclip = 1\nsampling_rate = 0.2')
    study = parse_study(text)
    folds = [fold_study(study, 5, fold) for fold in range(5)]
    assert spent_by(folds) <= 4 * (1 + 1e-6)
    assert len({one.name for one in folds}) == 5
    assert all(replace(one, name="", privacy=study.privacy).training == study.training for one in folds)
