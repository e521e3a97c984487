"""Models judged on archives that did not train them, through the real reading of DICOM."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from client.images import Split
from client.inference.archive import opened
from client.inference.external import Asked, evaluate
from client.inference.page import page_of, sentences
from client.inference.record import Evaluated
from shared.errors import InputError, PeerError
from shared.network import network_of
from shared.page import to_html
from shared.parameters import layout_of, to_vector
from shared.published import Model, read_model
from shared.study import MINIMAL, Study, Task, parse_study
from shared.study import Model as Network
from shared.tasks.registry import kind_of
from shared.weights import save_weights
from simulations.hospital import PROFILES, write_hospital

STUDY = parse_study(
    MINIMAL.replace("[32, 32]", "[16, 16]").replace('["DX"]', '["DX", "CR"]')
    + "[model.options]\nwidth = 4\nhidden = 4\n[evaluation]\ntest = 0.3\nper_site = true\n"
)


def written(path: Path, study: Study = STUDY, seed: int = 0, validation: str = "") -> Path:
    drawn = replace(study, training=replace(study.training, seed=seed))
    network = network_of(drawn)
    inside = {"run": f"r-{seed}", "round": "1", "study": msgspec.json.encode(study).decode(), "validation": validation}
    path.write_bytes(save_weights(layout_of(network), to_vector(network).astype(np.float32), inside))
    return path


def validation_of(study: Study = STUDY) -> list[int]:
    """Counts of twenty patients: positives score 0.8, negatives 0.2."""
    labels = np.arange(20) % 2
    probabilities = np.stack([0.8 - 0.6 * labels, 0.2 + 0.6 * labels], axis=1)
    return kind_of(study).count(probabilities, labels, np.arange(20))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive") / "cedar"
    write_hospital(folder, patients=14, seed=5, profile=PROFILES["cedar"])
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    place = tmp_path_factory.mktemp("model") / "m"
    return read_model(written(place, validation=json.dumps(validation_of())))


@pytest.fixture(scope="module")
def found(model: Model, archive: Path) -> Evaluated:
    return evaluate([model], asked(archive))


def asked(archive: Path, **changes: object) -> Asked:
    return Asked(archive, archive / "labels.csv", **changes)  # type: ignore[arg-type]


class TestEvaluate:
    def test_every_image_is_a_test_image(self, found: Evaluated) -> None:
        assert found.judged.images == found.images > 20
        assert 10 <= found.patients <= 14
        assert found.images + sum(found.skipped.values()) == found.files
        assert found.study.evaluation.epsilon is None

    def test_it_is_said_that_there_is_one_hospital(self, found: Evaluated) -> None:
        assert any("the site-stratified AUC is its AUC" in told for told in sentences(found))

    def test_the_threshold_is_that_of_the_training(self, found: Evaluated) -> None:
        assert found.judge == "chosen on the validation patients of the training"
        counts = validation_of()
        there, here = kind_of(STUDY).judge(counts, counts).figure("threshold"), found.judged.figure("threshold")
        assert there is not None and here is not None and there.value is not None
        assert here.value == there.value
        assert 0.2 < there.value <= 0.81

    def test_without_validation_counts_no_threshold_is_invented(self, tmp_path: Path, archive: Path) -> None:
        found = evaluate([read_model(written(tmp_path / "m"))], asked(archive))
        assert found.judge.startswith("none: the model does not say")
        assert not any(figure.name == "sensitivity" and figure.value is not None for figure in found.judged.figures)

    def test_counts_of_another_task_are_refused(self, tmp_path: Path, archive: Path) -> None:
        broken = read_model(written(tmp_path / "m", validation="[1, 2, 3]"))
        with pytest.raises(PeerError, match=r"validation counts: expected \d+ of classification, got 3"):
            evaluate([broken], asked(archive))

    def test_nothing_of_it_is_left_and_no_home_is_needed(
        self, model: Model, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        room = tmp_path / "temporary"
        room.mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(room))
        before = {path: path.stat().st_mtime_ns for path in archive.rglob("*")}
        evaluate([model], asked(archive))
        assert list(room.iterdir()) == []
        assert {path: path.stat().st_mtime_ns for path in archive.rglob("*")} == before

    def test_the_same_again_is_the_same(self, model: Model, found: Evaluated, archive: Path) -> None:
        assert evaluate([model], asked(archive)) == found

    def test_views_are_averaged(self, model: Model, found: Evaluated, archive: Path) -> None:
        twice = evaluate([model], asked(archive, views=2))
        assert found.judged != twice.judged
        assert twice.study.evaluation.views == 2

    @pytest.mark.parametrize("changes", [{"views": 3}, {"subgroups": ("height",)}, {"subgroups": ("manufacturer",)}])
    def test_what_no_study_may_ask_is_refused(self, model: Model, archive: Path, changes: dict[str, object]) -> None:
        with pytest.raises(InputError, match="evaluation: expected what a study may ask for"):
            evaluate([model], asked(archive, **changes))

    def test_mirrored_views_of_labels_that_keep_their_side_are_refused(self, tmp_path: Path, archive: Path) -> None:
        sided = replace(STUDY, task=replace(STUDY.task, labels=("nodule left", "nodule right")))
        for views, message in ((2, "some labels say left or right"), (8, "what is turned has none")):
            with pytest.raises(InputError, match=f"evaluation: expected what a study may ask for, got .*{message}"):
                evaluate([read_model(written(tmp_path / "m", sided))], asked(archive, views=views))

    def test_labels_are_named_where_something_must_be_known(self, model: Model, archive: Path) -> None:
        with pytest.raises(InputError, match=r"--labels: expected what is known of the images \(class\).*, got none"):
            evaluate([model], Asked(archive, None))

    def test_a_kind_that_learns_from_images_alone_needs_no_labels(self, tmp_path: Path, archive: Path) -> None:
        rebuilt = replace(STUDY, task=Task(kind="enhancement"), model=Network(name="restorer", options={"width": 4}))
        model = read_model(written(tmp_path / "m", rebuilt))
        without = evaluate([model], Asked(archive, None))
        assert without.judged.images == without.images > 20
        assert without.judged.headline.value is not None

    def test_a_device_that_is_not_there_is_refused(self, model: Model, archive: Path) -> None:
        with pytest.raises(InputError, match="--device: expected cpu"):
            evaluate([model], asked(archive, device="abacus"))

    def test_an_archive_that_is_none_is_named(self, model: Model, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="expected an archive"):
            evaluate([model], Asked(tmp_path / "none", tmp_path / "none.csv"))
        with pytest.raises(InputError, match="expected labels, got no such file"):
            evaluate([model], Asked(tmp_path, tmp_path / "none.csv"))


class TestSubgroups:
    def test_small_ones_are_kept_back_and_the_others_add_up(self, model: Model, archive: Path) -> None:
        all_, few = (evaluate([model], asked(archive, subgroups=("sex",), smallest=k)) for k in (1, 10**6))
        assert few.groups == {}
        assert set(few.hidden) == set(all_.groups)
        assert all_.hidden == ()
        if all_.groups:
            assert sum(judged.images for judged in all_.groups.values()) == all_.images


class TestEnsembles:
    def test_two_are_better_looked_at_together(self, tmp_path: Path, archive: Path) -> None:
        first, second = (read_model(written(tmp_path / f"m{seed}", seed=seed)) for seed in (1, 2))
        both = evaluate([first, second], asked(archive))
        assert [one.run for one in both.models] == ["r-1", "r-2"]
        assert both.judge.startswith("none: several models together")
        alone = [evaluate([one], asked(archive)).judged.headline.value for one in (first, second)]
        assert both.judged.headline.value not in alone

    def test_one_twice_is_refused(self, model: Model, archive: Path) -> None:
        with pytest.raises(InputError, match="expected models that differ"):
            evaluate([model, model], asked(archive))


class TestPage:
    def test_it_says_what_it_rests_on(self, model: Model, found: Evaluated) -> None:
        page = to_html(page_of(found))
        for words in (
            f"{found.images} images of",
            "chosen on the validation",
            "nobody vouches",
            model.sha256,
            model.hash,
            "<svg",
        ):
            assert words in page, words

    def test_hostile_names_stay_names(self, found: Evaluated) -> None:
        bad = "<img src=//x onerror=alert(1)>"
        hostile: Evaluated = replace(
            found,
            models=(replace(found.models[0], study=bad, run=bad),),
            groups={bad: found.judged}, hidden=(bad,), versions={bad: bad},
        )  # fmt: skip
        assert "<img" not in to_html(page_of(hostile))


def test_an_opened_archive_has_everybody_in_the_test_split(archive: Path) -> None:
    with opened(archive, archive / "labels.csv", STUDY) as prepared:
        assert set(prepared.images.split.tolist()) == {Split.TEST}
