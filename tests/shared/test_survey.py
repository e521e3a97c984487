"""The survey: its counts by place, and their sum."""

import pytest

from shared.counts import MOST
from shared.errors import OperatorError
from shared.reasons import Reason
from shared.survey import IMAGE_UNITS, INTENSITY_BINS, SPLITS, SURVEY_COUNTS, Survey, read_survey, survey_plain
from tests.shared.sums import counted, total_of


def test_surveys_sum_by_place() -> None:
    one = Survey((5, 2, 3), (4, 1), {Reason.TRUNCATED: 2}, 1, 60, (7, *[0] * 62, 9))
    two = Survey((1, 0, 0), (0, 1), {Reason.CHANGED: 7}, 0, 4, (1, 2, *[0] * 61, 3))
    found = read_survey(total_of([counted(survey_plain(survey)) for survey in (one, two)]), 2, labels=2)
    assert (found.splits, found.labels, found.hidden_labels, found.hidden_bins) == ((6, 2, 3), (4, 2), 1, 64)
    assert found.intensities == (8, 2, *[0] * 61, 12)
    assert {r: n for r, n in found.skipped.items() if n} == {Reason.TRUNCATED: 2, Reason.CHANGED: 7}


def test_no_study_has_images_enough_to_overflow_a_bin() -> None:
    """A thousand times the images that a hospital may have by default, all of one brightness."""
    assert IMAGE_UNITS * 100_000 * 1000 < MOST


def test_a_survey_of_another_number_of_sites_is_found() -> None:
    with pytest.raises(OperatorError, match="2 sites in its first count, got 1"):
        read_survey(counted(survey_plain(Survey((1, 1, 1), (1, 0), {}))), 2, labels=2)


def test_a_survey_has_the_counts_announced() -> None:
    survey = survey_plain(Survey((1, 2, 3), (4, 5), dict.fromkeys(Reason, 9), 6, 7, (8,) * INTENSITY_BINS))
    assert survey.counts.tolist() == [1, 1, 2, 3, 4, 5, 6, 7, *[8] * 64, *[9] * len(Reason)]
    assert len(survey.counts) == SURVEY_COUNTS + 2 == 1 + len(SPLITS) + 2 + 2 + 64 + len(Reason)
