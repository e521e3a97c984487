"""What hospitals say they spent, as it stands in the record."""

import pytest
from msgspec.structs import replace

from server.report.build import evaluation_price, site_privacy
from server.report.result import Result
from shared.accounting import SampledGaussian, prv_epsilon, rdp_epsilon
from shared.messages.shown import Spent
from shared.study import Study

SPENT = Spent(
    steps=12,
    epsilon_run=7.5,
    epsilon_total=9.0,
    delta=1e-5,
    noise_multiplier=1.0,
    honest=2,
    epsilon_alone=20.0,
    evaluation=1.5,
)


def test_mode_distributed_keeps_its_assumption_and_what_is_left_without_it(priced: Result) -> None:
    found = site_privacy(priced.study.text, SPENT)
    assert (found.mode, found.honest, found.epsilon_alone, found.evaluation) == ("distributed", 2, 20.0, 1.5)
    event = SampledGaussian(sampling_rate=0.2, noise_multiplier=1.0, steps=12)
    assert found.epsilon_tight == pytest.approx(min(7.5, prv_epsilon([event], 1e-5)))


def test_a_hospital_that_never_answered_spent_nothing_in_the_studys_mode(good: Result, priced: Result) -> None:
    assert site_privacy(good.study.text, None).mode == "local"
    found = site_privacy(priced.study.text, None)
    assert (found.mode, found.epsilon_run, found.evaluation) == ("distributed", 0.0, None)


def test_a_hospital_that_was_only_evaluated_has_no_training_cost(priced: Result) -> None:
    found = site_privacy(priced.study.text, replace(SPENT, steps=0, epsilon_run=0.0, epsilon_alone=None))
    assert found.epsilon_tight == 0.0 and found.evaluation == 1.5


def test_evaluations_cost_where_training_has_no_privacy_too(troubled: Result) -> None:
    found = site_privacy(troubled.study.text, replace(SPENT, steps=0))
    assert (found.mode, found.epsilon_run, found.evaluation) == ("off", None, 1.5)


class TestPrice:
    @pytest.fixture
    def study(self, priced: Result) -> Study:
        return priced.study.text

    def test_all_planned_evaluations_stay_within_what_is_allowed(self, study: Study) -> None:
        found = evaluation_price(study, 12, 1)
        assert found is not None and (found.epsilon, found.delta) == (2.0, 1e-5)
        for own in found.splits.values():
            assert 1.99 < own.epsilon <= 2.0
            event = SampledGaussian(sampling_rate=1.0, noise_multiplier=own.noise_multiplier, steps=own.evaluations)
            assert own.epsilon == rdp_epsilon([event], 1e-5)

    def test_evaluations_that_did_not_happen_cost_nothing(self, study: Study) -> None:
        found = evaluation_price(study, 3, 0)
        assert found is not None
        assert found.splits["test"].epsilon == 0.0 < found.splits["validation"].epsilon < 1.2

    def test_without_noise_there_is_no_price(self, good: Result) -> None:
        assert evaluation_price(good.study.text, 12, 1) is None
