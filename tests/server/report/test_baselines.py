import pytest
from msgspec.structs import replace

from server.report.baselines import described
from server.report.html import render
from server.report.result import Result
from shared.study import MINIMAL, Study, parse_study

PLAIN = parse_study(MINIMAL)
LOCAL = 'mode = "local"\nepsilon = 8.0\ndelta = 1e-5\nclip = 0.5\nsampling_rate = 0.2'


def asking(**federation: object) -> Study:
    return replace(PLAIN, federation=replace(PLAIN.federation, **federation))


def test_plain_averaging_leaves_nothing_out() -> None:
    text = described(PLAIN)
    assert "a batch that is larger by the number of hospitals; steps are plain, without privacy as in the run," in text


@pytest.mark.parametrize(
    ("study", "words"),
    [
        (asking(strategy="scaffold"), "steps are plain, without scaffold and its options, without privacy"),
        (asking(options={"server_momentum": 0.9}), "without fedavg and its options"),
        (asking(personal=("norm",)), "steps are plain, without weights that stay with a hospital, without privacy"),
        (
            asking(strategy="feddyn", personal=("all",)),
            "without feddyn and its options or weights that stay with a hospital",
        ),
        (
            replace(PLAIN, training=replace(PLAIN.training, local_steps=None, local_epochs=1)),
            "in one place with as many passes over them;",
        ),
        (parse_study(MINIMAL.replace('mode = "off"', LOCAL)), "with all the noise of the study’s ε added in one place"),
    ],
)
def test_what_differs_from_the_run_is_said(study: Study, words: str) -> None:
    assert words in described(study)


def test_where_the_coordinator_steps_batches_are_shared(priced: Result) -> None:
    text = described(priced.study.text)
    assert "on its own images in steps of its share of a batch" in text
    assert "in one place in steps of a whole batch;" in text


def test_it_stands_in_the_report_where_there_are_baselines(good: Result) -> None:
    assert described(good.study.text) in render(good)
    assert "Each baseline is" not in render(replace(good, baselines=None))
