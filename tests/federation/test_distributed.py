"""Mode "distributed" as a whole: real hospitals, masks and coordinator; every round one step on one noisy sum."""

import hashlib
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from client.ledger import Ledger
from client.privacy.stream import SecureStream
from client.site import Site
from client.training.loop import step_private
from client.training.private import local_mechanism
from client.workbench import prepare_for
from server.strategies import dpsgd
from server.strategies.base import State
from shared.accounting import alone, noise_multiplier, rdp_epsilon, round_event
from shared.clipping import BIT, RATE
from shared.layout import begin
from shared.mechanism import Mechanism
from shared.network import network_of
from shared.parameters import layout_of, load_vector
from shared.study import Study
from shared.weights import save_weights
from simulations.baselines import together
from simulations.faults import LocalLink, Moment, lost
from simulations.local import LocalFederation


def silent(total: NDArray[np.float64], mechanism: Mechanism, _: SecureStream) -> NDArray[np.int64]:
    """What `release` does, without the noise."""
    return np.rint(total / mechanism.grid).astype(np.int64)


def with_parts(study: Study, **parts: dict[str, Any]) -> Study:
    return replace(study, **{name: replace(getattr(study, name), **changes) for name, changes in parts.items()})


def pooled(local: LocalFederation, study: Study) -> State:
    """DP-SGD on all hospitals' images in one place, without the noise."""
    images = together([prepare_for(local.home(name), study).images for name in local.names])
    module, (layout, weights) = network_of(study), begin(study)
    state = dpsgd.init(weights, study, layout)
    for _ in range(study.training.rounds):
        load_vector(module, state.weights)
        mechanism = local_mechanism(state.clip, 1.0, layout.moving + (study.privacy.clip_quantile is not None))
        integers = step_private(module, images, study, mechanism, release=silent)
        state = dpsgd.apply(state, integers * mechanism.grid, study, layout)
    return state


#: Smooth: in a net with max-pools a difference in the seventh digit may choose another pixel. Its fixed front part is
#: computed once at the hospitals and at each step in `pooled`.
SMOOTH = {"name": "scattering", "options": {"scales": 2, "hidden": 4}}


@pytest.mark.parametrize("quantile", [None, 0.3])
def test_the_model_is_that_of_dp_sgd_on_the_pooled_images(
    local: LocalFederation, distributed: Study, quantile: float | None
) -> None:
    """Without the noise, and with everybody drawn, nothing but rounding to the grid is left to differ: each hospital's
    and the pooled sum's half a step, in four steps with momentum."""
    study = with_parts(
        distributed,
        model=SMOOTH,
        training={"rounds": 4, "momentum": 0.9, "images_per_patient": 64},
        privacy={"sampling_rate": 1.0, "clip_quantile": quantile},
    )
    sites = [Site(local.home(name), release=silent) for name in local.names]
    outcome, result = local.run(LocalLink(sites), study)
    assert result.status == "finished"
    found, expected = outcome.checkpoint.state, pooled(local, study)
    np.testing.assert_allclose(found.weights, expected.weights, atol=1e-5)
    grid = local_mechanism(found.clip, 1.0, layout_of(network_of(study)).moving + 1).grid
    apart = 4 * RATE * (len(sites) / 2 + 1 / 2) * grid / (BIT * found.clip * study.training.batch)
    assert found.clip == pytest.approx(expected.clip, rel=2 * apart)  # the grid follows the clip, by a factor of 2
    assert (found.clip != study.privacy.clip) == (quantile is not None)
    assert np.abs(found.weights - begin(study)[1]).max() > 1e-3, "and it did move"


def test_a_round_is_charged_before_it_is_taken_and_says_what_it_rests_on(
    local: LocalFederation, distributed: Study
) -> None:
    study = with_parts(distributed, training={"rounds": 3}, aggregation={"colluders": 0})
    _, result = local.run(LocalLink(local.sites()), study)
    sigma = noise_multiplier(study)
    assert sigma is not None and result.status == "finished"
    event = round_event(study, sigma, honest=2)  # of three hospitals two must answer
    spent = rdp_epsilon([event] * 3, 1e-5)
    assert spent <= 8.0
    for name in local.names:
        own = result.privacy[name]
        assert own.mode == "distributed" and own.epsilon_run == pytest.approx(spent)
        assert (
            own.epsilon_alone == pytest.approx(rdp_epsilon(alone([event] * 3), 1e-5))
            and (own.epsilon_alone or 0) > spent
        )
        assert Ledger(local.home(name).path / "ledger.sqlite").events(result.run) == (event,) * 3


def test_a_hospital_lost_in_a_step_is_named_and_the_step_is_the_others(
    local: LocalFederation, distributed: Study
) -> None:
    link = LocalLink(local.sites(), {Moment(1, "train", 1): lost})
    _, result = local.run(link, distributed)
    assert result.status == "finished"
    assert result.sites.contributed == (("alder", "cedar"), ("alder", "birch", "cedar"))
    assert {(out.site, out.round) for out in result.sites.left_out if out.step == "train"} == {("birch", 1)}


@pytest.mark.parametrize("mode", ["off", "distributed"])
def test_frozen_weights_stay_and_are_not_sent(
    local: LocalFederation, study: Study, distributed: Study, mode: str
) -> None:
    asked = replace(study if mode == "off" else distributed, model=replace(study.model, frozen=("blocks",)))
    outcome, result = local.run(LocalLink(local.sites()), asked)
    layout, before = layout_of(network_of(asked)), begin(asked)[1]
    assert (result.status, result.because) == ("finished", "") and result.aggregation is not None
    assert result.aggregation.vector_length == layout.moving < layout.size
    after, start = layout.split(outcome.checkpoint.state.weights), layout.split(before)
    moved = {name for name in layout.names if (after[name] != start[name]).any()}
    assert moved and all(name.startswith("head") for name in moved)


def test_a_run_begins_with_the_weights_its_study_names(local: LocalFederation, distributed: Study) -> None:
    layout, weights = begin(distributed)
    data = save_weights(layout, np.full_like(weights, 0.25))
    (local.folder / "run").mkdir()
    (local.folder / "run" / "public.safetensors").write_bytes(data)
    study = with_parts(
        distributed,
        model={"init": "public.safetensors", "init_sha256": hashlib.sha256(data).hexdigest()},
        training={"learning_rate": 1e-6},
    )
    outcome, result = local.run(LocalLink(local.sites()), study)
    assert result.status == "finished"
    np.testing.assert_allclose(outcome.checkpoint.state.weights, 0.25, atol=1e-3)


def test_every_hospital_adds_its_own_noise_to_every_step(local: LocalFederation, distributed: Study) -> None:
    """With nothing to learn from (a rate of nothing drawn), what is left of a step is noise: √(n ÷ (t − c)) σ C."""
    study = with_parts(
        distributed, privacy={"sampling_rate": 1e-9}, training={"learning_rate": 4.0, "batch": 1, "rounds": 1}
    )
    outcome, _ = local.run(LocalLink(local.sites()), study)
    moved = (outcome.checkpoint.state.weights - begin(study)[1]) / 4.0
    sigma = noise_multiplier(study)
    assert sigma is not None
    expected = sigma * np.sqrt(3 / 2) * 1.0
    assert moved.std() == pytest.approx(expected, rel=6 / np.sqrt(2 * moved.size))
