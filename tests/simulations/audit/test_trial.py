"""The whole of it, small, on the real federation: honest noise is not contradicted, and less or none alarms."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from client.privacy.release import release
from client.privacy.stream import SecureStream
from client.training.gradients.layers import Layers
from client.training.private import Release
from shared.accounting import noise_multiplier
from shared.errors import InputError
from shared.layout import begin
from shared.mechanism import Mechanism
from shared.study import MINIMAL, Study, parse_study
from simulations.audit.canaries import CanaryGradients
from simulations.audit.evidence import audit_canaries, canaries_for, figures, least_canaries
from simulations.audit.noises import bare, with_share
from simulations.audit.setting import STEP, audited
from simulations.audit.trial import observe, trial

PRIVATE = 'mode = "{}"\nepsilon = {}\ndelta = 1e-5\nclip = 0.5\nsampling_rate = 0.5\n[aggregation]\ncolluders = {}'
#: An honest run's surest quarter would have to be 8 standard deviations luckier than it is to alarm.
CANARIES = 2048


def study(
    mode: str, *, epsilon: float = 8.0, colluders: int = 1, steps: int = 3, quantile: float | None = None
) -> Study:
    text = MINIMAL.replace('mode = "off"', PRIVATE.format(mode, epsilon, colluders))
    if quantile is not None:
        text = text.replace("clip = 0.5", f"clip = 0.5\nclip_quantile = {quantile}")
    return parse_study(text.replace("rounds = 2", f"rounds = {steps}").replace("local_steps = 2", "local_steps = 1"))


@pytest.mark.parametrize(("mode", "colluders"), [("distributed", 0), ("distributed", 1), ("local", 1)])
def test_an_honest_run_is_not_contradicted(mode: str, colluders: int) -> None:
    asked = study(mode, colluders=colluders)
    found = figures(asked, trial(asked, CANARIES, release=release, seed=0), "as promised")
    assert not found.contradicted
    assert 0.5 < found.empirical < found.tight <= found.accounted <= found.asked == 8.0
    assert found.empirical_pair < found.empirical
    assert found.colluders == (2 if mode == "local" else colluders)
    assert found.measured == pytest.approx(found.promised, rel=0.35)  # 300 coordinates, 3 steps: 5 σ


@pytest.mark.parametrize("mode", ["distributed", "local"])
def test_without_noise_it_alarms(mode: str) -> None:
    asked = study(mode)
    steps: list[tuple[int, int]] = []
    found = audit_canaries(asked, CANARIES, noise="none", told=lambda done, of: steps.append((done, of)))
    assert found.contradicted
    assert found.empirical > found.accounted
    assert found.measured < 0.01
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_a_tenth_of_the_noise_alarms() -> None:
    asked = study("distributed")
    found = figures(asked, trial(asked, CANARIES, release=with_share(0.1), seed=0), "as promised")
    assert found.contradicted


def test_adaptive_clipping_is_audited_too() -> None:
    asked = study("distributed", quantile=0.7)
    found = figures(asked, trial(asked, CANARIES, release=release, seed=0), "as promised")
    assert not found.contradicted
    assert found.empirical > 0.5
    assert audited(asked, CANARIES).privacy == asked.privacy
    assert figures(asked, trial(asked, CANARIES, release=bare, seed=0), "none").contradicted


@pytest.mark.parametrize("mode", ["distributed", "local"])
def test_the_auditor_sees_what_moves_the_coordinators_model_and_no_more(mode: str, tmp_path: Path) -> None:
    small = audited(study(mode, steps=2), 500)
    seen: list[NDArray[np.float64]] = []
    way, none = CanaryGradients(Layers(), np.arange(500)), np.array([], np.int64)
    end = observe(tmp_path, small, way, none, release=release, see=seen.append)
    layout, start = begin(small)
    survivors = 1 if mode == "distributed" else small.federation.min_sites  # the mean of updates, or their sum
    assert [len(total) for total in seen] == [layout.moving] * 2
    moved = -STEP / survivors * sum(seen, start=np.zeros(layout.moving))
    assert end.state.weights - start == pytest.approx(moved, abs=1e-6)


@pytest.mark.parametrize("mode", ["distributed", "local"])
def test_the_study_audited_has_the_same_noise(mode: str) -> None:
    asked = study(mode, steps=7)
    small = audited(asked, 5000)
    assert noise_multiplier(small) == noise_multiplier(asked)
    assert small.aggregation.colluders == asked.aggregation.colluders
    assert begin(small)[0].moving >= 5500


def test_several_local_steps_become_as_many_rounds() -> None:
    text = MINIMAL.replace('mode = "off"', PRIVATE.format("local", 8.0, 1))
    small = audited(parse_study(text), 100)
    assert (small.training.rounds, small.training.local_steps) == (4, 1)
    assert noise_multiplier(small) == noise_multiplier(parse_study(text))


def test_fewer_canaries_than_could_alarm_are_refused() -> None:
    asked = study("distributed")
    least = least_canaries(asked)
    with pytest.raises(InputError, match=f"--canaries: expected at least {least}, .* got {least // 2}"):
        audit_canaries(asked, least // 2)
    assert canaries_for(asked) >= 4 * least


def test_a_promise_that_nothing_refutes_is_refused() -> None:
    with pytest.raises(InputError, match=r"privacy\.epsilon: expected one that 262144 canaries can refute"):
        least_canaries(study("local", epsilon=80.0))


@pytest.mark.parametrize("stand_in", [bare, with_share(1e-3)])
def test_what_stands_in_for_the_release_rounds_as_it_does(stand_in: Release) -> None:
    mechanism = Mechanism(clip=1.0, noise_multiplier=1.0, entries=4, honest=1, sites=2)
    total = np.array([0.0, 0.5, -1.0, 1e9])
    found = stand_in(total, mechanism, SecureStream()) * mechanism.grid
    assert found[:3] == pytest.approx(total[:3], abs=0.02)
    assert found[3] <= 2**31 * mechanism.grid
