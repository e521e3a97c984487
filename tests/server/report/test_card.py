import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from server.report.card import cards, write_cards
from server.report.html import write_report
from server.report.limits import limits
from server.report.result import Result, read_result, write_result
from shared.judged import Figure, Judged
from shared.manifest import sha256
from shared.study import MINIMAL, parse_study

JUDGED = Judged(
    kind="classification",
    images=811,
    figures=(Figure("stratified_auc", 0.912, "Site-stratified AUC", 0.87, 0.95), Figure("positives", 284, "Findings")),
)
WEIGHTS = "ab" * 32


def markdown(result: Result) -> str:
    return cards(result, WEIGHTS)["model-card.md"].decode()


@pytest.fixture
def judged(good: Result) -> Result:
    few = replace(JUDGED, images=12, figures=(Figure("stratified_auc", None, "Site-stratified AUC"),))
    return replace(
        good, judged=JUDGED, groups={"sex F": JUDGED, "sex M": few}, hidden={"sex F": 0, "sex M": 2},
        own={"city": Figure("stratified_auc", 0.9, "Site-stratified AUC", 0.8, 0.99)},
    )  # fmt: skip


def test_it_says_what_the_record_says(judged: Result) -> None:
    text = markdown(judged)
    for words in (
        "Trained by 4 hospitals", "The finding it looks for is nodule.", "no medical device",
        "| Site-stratified AUC | 0.912 | 0.870 to 0.950 |", "| sex F | 811 |", "| city |",
        "3,211 images of 4 hospitals: train 1920, validation 480, test 811.", "| nodule | 455 |",
        "| city | local | 7.93 | 9.13 | 10⁻⁵ | 1 |", "| training.rounds | 12 |", "| rounds, best round | 12, 12 |",
        "konsil-client evaluate MODEL ARCHIVE", WEIGHTS, judged.study.hash, judged.run,
    ):  # fmt: skip
        assert words in text, words


def of_study(good: Result, task: str, more: str = "") -> str:
    study = parse_study(MINIMAL.replace('labels = ["clear", "nodule"]', task) + more)
    return cards(replace(good, study=replace(good.study, text=study)), WEIGHTS)["model-card.html"].decode()


def test_it_says_how_outputs_are_read(good: Result) -> None:
    assert "softmax along dimension 1 makes probabilities of the classes" in markdown(good)
    age = 'kind = "regression"\nlabels = ["age"]\noptions = { minimum = 18, maximum = 98, unit = "years" }'
    assert "age in years = 18 + 80 × (output + 0.5), held between 18 and 98" in of_study(good, age)
    masks = 'kind = "segmentation"\nlabels = ["lesion"]\noptions = { patch = 16 }'
    text = of_study(good, masks, "[evaluation]\nviews = 8\n")
    for words in ("tensors of 1 × 16 × 16", "a window of 16 × 16 pixels that slides", "on 8 views of each image"):
        assert words in text, words


def test_labels_are_asked_for_where_something_must_be_known(good: Result) -> None:
    assert "evaluate MODEL ARCHIVE --labels labels.csv" in markdown(good)
    assert "evaluate MODEL ARCHIVE --root root.pub" in of_study(good, 'kind = "registration"')


def test_both_cards_are_of_one_page(judged: Result) -> None:
    page = cards(judged, WEIGHTS)["model-card.html"].decode()
    headings = re.findall(r"^## (.*)$", markdown(judged), flags=re.MULTILINE)
    assert re.findall(r"<h2>(.*?)</h2>", page) == headings
    assert len(headings) == 9


def test_the_same_result_gives_the_same_bytes_read_back_too(judged: Result, tmp_path: Path) -> None:
    again = read_result(write_result(judged, tmp_path))
    assert cards(again, WEIGHTS) == cards(judged, WEIGHTS)


def test_the_digest_is_of_the_weights_beside_it(judged: Result, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    write_cards(judged, tmp_path)
    assert sha256(b"weights") in (tmp_path / "model-card.md").read_text()


@pytest.mark.parametrize("word", ["<img src=//x>", "](//evil)", "a|b", "$(reboot)", "`rm`"])
def test_hostile_words_stay_words(judged: Result, word: str) -> None:
    study = replace(judged.study.text, task=replace(judged.study.text.task, labels=("clear", word)))
    assert judged.survey is not None
    hostile = replace(
        judged,
        study=replace(judged.study, text=study),
        survey=replace(judged.survey, labels={word: 3}),
        sites=replace(judged.sites, expected=(word, "north")),
        groups={word: JUDGED}, own={word: JUDGED.headline}, because=word, versions={word: word},
        judged=replace(JUDGED, figures=(Figure("x", 0.5, word, of=word),)),
    )  # fmt: skip
    page, text = (cards(hostile, WEIGHTS)[name].decode() for name in ("model-card.html", "model-card.md"))
    assert "<img" not in page
    for line in text.splitlines():
        bare = re.sub(r"\\.", "", line)
        assert not re.search(r"[<\]]|\]\(|(?<!`)`(?!`)", bare), line
    rows = [line for line in text.splitlines() if "train images" in line]
    assert all(line.count("|") - line.count(r"\|") == 3 for line in rows)


class TestLimits:
    def test_every_model_was_validated_nowhere_else(self, judged: Result, troubled: Result) -> None:
        for result in (judged, troubled):
            assert any("No external validation" in line for line in limits(result))

    def test_of_a_good_run_only_what_nobody_measured_is_said(self, judged: Result) -> None:
        told = " ".join(limits(judged))
        assert "Differential privacy was off" not in told
        assert "Not compared" not in told
        assert "Not measured by sex, age, manufacturer" in told
        assert "No figure for sex M." in told
        assert "patients of sex M" in told
        assert "Hospitals kept back counts of 2 labels" in told

    def test_trouble_is_named(self, troubled: Result) -> None:
        told = " ".join(limits(troubled))
        for words in (
            "The run stopped before its last round. 2 hospitals are left", "never judged", "privacy was off",
            "Not compared", "university trained in no round", "was not counted",
        ):  # fmt: skip
            assert words in told, words

    @pytest.mark.parametrize(
        ("adversary", "words"),
        [("none", "not masked"), ("semi-honest", "not against one that lies"), ("active", "")],
    )
    def test_masks_are_no_better_than_they_were(self, judged: Result, adversary: str, words: str) -> None:
        study = parse_study(MINIMAL + f'[aggregation]\nadversary = "{adversary}"\n')
        told = " ".join(limits(replace(judged, study=replace(judged.study, text=study))))
        assert words in told
        assert ("not masked" in told) == (adversary == "none")

    def test_few_images_and_rare_labels(self, judged: Result, altered: Callable[..., Result]) -> None:
        assert judged.survey is not None
        survey = replace(judged.survey, labels={"clear": 4000, "nodule": 60, "mass": 900}, hidden_labels=0)
        told = limits(replace(judged, judged=replace(JUDGED, images=1), survey=survey))
        assert "It was judged on 1 held-out image only." in told
        assert "Few training images have nodule: 60 of 4960." in told
        assert not any("mass" in line for line in told)
        told = limits(replace(judged, survey=replace(survey, hidden_labels=1)))
        assert "Few training images have nodule: at least 60 of at least 4960." in told


def test_the_report_links_the_card_where_one_lies_beside_it(judged: Result, tmp_path: Path) -> None:
    assert "model-card.html" not in write_report(judged, tmp_path).read_text()
    write_cards(judged, tmp_path)
    assert '<a href="model-card.html">' in write_report(judged, tmp_path).read_text()


def test_a_survey_only_run_has_no_figures_but_a_card(troubled: Result) -> None:
    assert "No figures: the model was not judged" in markdown(troubled)
    assert msgspec.json.encode(troubled)
