"""What is a hospital's own, through real hospitals: parts of a model that stay, whole models beside the common one."""

import numpy as np
import pytest
from msgspec.structs import replace

from client.images import Split
from client.kept import Keeper
from client.own_model import own_model
from client.personal import PERSONAL, own_places
from client.workbench import prepare_for
from server.report.result import Result
from server.run import conduct, open_run
from shared.errors import InputError
from shared.layout import begin
from shared.network import network_of
from shared.parameters import layout_of
from shared.published import read_model
from shared.study import Study
from shared.tasks.registry import kind_of
from simulations.baselines import judge
from simulations.faults import Fault, LocalLink, Moment, altered, lost, reply_lost
from simulations.local import LocalFederation, Recorder


def asking(study: Study, *personal: str, strategy: str = "fedavg", **options: float) -> Study:
    federation = replace(study.federation, personal=personal, strategy=strategy, options=options)
    return replace(study, federation=federation)


def finish(local: LocalFederation, study: Study, out: str) -> Result:
    """A run with all that it leaves on disk."""
    start = open_run(local.folder / out, study, resume=False)
    return conduct(start, LocalLink(local.sites()), local.federation, Recorder())


def kept(local: LocalFederation, run: str) -> dict[str, dict[str, np.ndarray[tuple[int], np.dtype[np.float32]]]]:
    found = {}
    for name in local.names:
        found[name] = Keeper(local.home(name).path / "kept", most_bytes=1 << 30).newest(run)
    return found


def test_the_published_head_is_the_mean_of_the_hospitals_own(local: LocalFederation, study: Study) -> None:
    asked = asking(study, "head")
    outcome, result = local.run(LocalLink(local.sites()), asked)
    own = kept(local, result.run)
    places = own_places(asked, network_of(asked))
    assert 0 < places.sum() < places.size
    images = outcome.checkpoint.memory.images
    assert images is not None
    sizes = {name: counts["used"] for name, counts in images.per_site.items()}
    assert set(sizes) == set(local.names)
    heads = np.stack([own[name][PERSONAL] for name in local.names])
    assert np.abs(heads[0] - heads[1]).max() > 1e-4
    mean = outcome.checkpoint.state.weights[places]
    assert (mean >= heads.min(axis=0) - 1e-4).all() and (mean <= heads.max(axis=0) + 1e-4).all()
    assert result.personal is not None and result.judged is not None
    assert result.personal.images == result.judged.images > 0


def test_ditto_leaves_the_common_model_alone(local: LocalFederation, study: Study) -> None:
    """The common model is bit for bit FedAvg's but for rounding; the hospitals' own are others."""
    common, _ = local.run(LocalLink(local.sites()), study)
    beside, result = local.run(LocalLink(local.sites()), asking(study, "all", personal_mu=0.5), out="ditto")
    np.testing.assert_allclose(beside.checkpoint.state.weights, common.checkpoint.state.weights, atol=2e-5)
    for own in kept(local, result.run).values():
        assert own[PERSONAL].shape == beside.checkpoint.state.weights.shape
        assert 1e-4 < np.abs(own[PERSONAL] - beside.checkpoint.state.weights).max() < 1
    assert result.personal is not None


@pytest.mark.parametrize("fault", [lost, reply_lost, altered(1)])
def test_a_hospital_not_counted_goes_on_from_the_round_before(
    local: LocalFederation, study: Study, fault: Fault
) -> None:
    """SCAFFOLD's c stays the mean of the hospitals' c_i, weighted by images, whoever was lost in a round."""
    asked = asking(study, strategy="scaffold")
    asked = replace(asked, training=replace(asked.training, rounds=3))
    link = LocalLink(local.sites(), {Moment(1, "train", 2): fault})
    outcome, result = local.run(link, asked)
    assert [len(row.trained) for row in result.rounds.each] == [3, 2, 3]
    sizes = [len(prepare_for(local.home(name), asked).images.rows(Split.TRAIN)) for name in local.names]
    controls = [own["control"] for own in kept(local, result.run).values()]
    np.testing.assert_allclose(
        outcome.checkpoint.state.slots[0], np.average(controls, axis=0, weights=sizes), atol=2e-4
    )


def test_a_part_that_no_weight_has_is_refused(study: Study) -> None:
    with pytest.raises(InputError, match=r"federation\.personal: expected beginnings of names"):
        begin(asking(study, "tail"))


@pytest.mark.parametrize(("personal", "options"), [("head", {}), ("all", {"personal_mu": 0.5})])
def test_a_hospitals_own_model_is_the_one_that_was_judged_there(
    local: LocalFederation, study: Study, personal: str, options: dict[str, float]
) -> None:
    asked = asking(study, personal, strategy="fedavg", **options)
    told = finish(local, asked, f"own-{personal}").personal
    finished = read_model(local.folder / f"own-{personal}")
    network, counts, layout = network_of(asked), [], layout_of(network_of(asked))
    for name in local.names:
        home = local.home(name)
        own = local.folder / f"{name}-{personal}.safetensors"
        own.write_bytes(own_model(finished, Keeper(home.path / "kept", most_bytes=1 << 30)))
        read = read_model(own)
        moving = layout.part(read.weights)
        places = own_places(asked, network)
        np.testing.assert_array_equal(moving[places], kept(local, finished.run)[name][PERSONAL])
        assert (moving != layout.part(finished.weights))[places].any()
        assert read.run == finished.run and read.validation == ()
        counts.append(judge(asked, read.weights, prepare_for(home, asked).images, Split.TEST))
    together = kind_of(asked).judge([sum(values) for values in zip(*counts, strict=True)])
    assert told is not None and told.headline == together.headline


def test_without_own_weights_there_is_no_own_model(local: LocalFederation, study: Study) -> None:
    finish(local, study, "common")
    keeper = Keeper(local.home(local.names[0]).path / "kept", most_bytes=1 << 30)
    with pytest.raises(InputError, match=r"federation\.personal.*got a study without"):
        own_model(read_model(local.folder / "common"), keeper)
