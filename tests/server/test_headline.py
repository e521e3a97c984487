import pytest

from server.headline import called, headline_of
from shared.study import MINIMAL, parse_study

TWO = 'labels = ["clear", "nodule"]'
AGE = 'kind = "regression"\nlabels = ["age"]\n[task.options]\nminimum = 0\nmaximum = 9\nunit = "years"'


@pytest.mark.parametrize(
    ("task", "words", "better"),
    [
        (TWO, "AUC", "higher"),
        ('labels = ["a", "b", "c"]', "Mean site-stratified AUC", "higher"),
        (AGE, "Mean absolute error, age (years)", "lower"),
    ],
)
def test_every_kind_has_a_name_for_its_headline(task: str, words: str, better: str) -> None:
    head = headline_of(parse_study(MINIMAL.replace(TWO, task)))
    assert (called(head), head.better, head.value) == (words, better, None)
