"""The noise that is really in a sum of mode "distributed": opened by the whole protocol, held against what was summed.

Five hospitals, of whom four must answer and one may collude: three shares are all of the noise. Statistics are over
more than 20,000 entries; what is allowed to be off by FAR standard errors is so by chance once in 10^7.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.accounting import noise_multiplier
from shared.mechanism import Mechanism
from shared.messages.replies import Answered, Contributed
from shared.noisy_sum import mechanism_of, read_sum
from shared.secagg.messages import UnmaskRequest
from shared.study import parse_study
from shared.wire import unpack
from simulations.attacker import Attacker
from simulations.wards import Releases, found, site_of, ward
from tests.federation.five import HONEST, NAMES, POLICY
from tests.federation.five import STUDY as FIVE

FAR = 5.5
STUDY = parse_study(FIVE)


@dataclass(frozen=True)
class Opened:
    """A round that was opened over some survivors: the noisy sum, the true sum, everybody's noise, in reals [d]."""

    mechanism: Mechanism
    sum: NDArray[np.float64]
    true: NDArray[np.float64]
    noise: dict[str, NDArray[np.float64]]


def opened(folder: Path, survivors: Sequence[str], *, alder: int = 12) -> Opened:
    """The whole protocol, with the hospitals that are not among `survivors` lost after they contributed; `alder` has so
    many patients."""
    local, releases = found(folder, NAMES, POLICY), Releases()
    patients = dict.fromkeys(NAMES, 12) | {"alder": alder}
    sites = {name: site_of(local, name, ward(patients[name]), releases) for name in NAMES}
    attacker = Attacker(local.federation, sites, STUDY).join_all()
    task = attacker.train_task()
    plan = attacker.plan(task)
    lost = [name for name in NAMES if name not in survivors]
    assert all(isinstance(attacker.step(name, task, plan), Contributed) for name in lost)
    collector = attacker.settled(task, plan, survivors)
    for name in survivors:
        answer = attacker.ask_unmask(name, unpack(UnmaskRequest, collector.request(name)))
        assert isinstance(answer, Answered)
        collector.answer(answer.answer)
    by = mechanism_of(STUDY, clip=1.0, cohort=len(NAMES), parameters=attacker.weights.size)
    assert releases.by == [by] * len(NAMES)
    sums = dict(zip([*lost, *survivors], releases.sums, strict=True))
    made = dict(zip([*lost, *survivors], releases.integers, strict=True))
    noise = {name: made[name] * by.grid - sums[name] for name in survivors}
    true = np.sum([sums[name] for name in survivors], axis=0)
    return Opened(by, read_sum(collector.finish(), len(survivors), by), true, noise)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shares")


@pytest.fixture(scope="module", params=[5, 4])
def round_(request: pytest.FixtureRequest, folder: Path) -> Opened:
    """Opened over all five, or after one was lost."""
    return opened(folder / str(request.param), NAMES[: request.param])


def near(found: float, expected: float, entries: int) -> bool:
    """Whether a deviation measured on so many entries is what it should be."""
    return bool(abs(found / expected - 1) < FAR / np.sqrt(2 * entries))


def test_the_sum_carries_the_noise_of_its_survivors(round_: Opened) -> None:
    by, noise = round_.mechanism, round_.sum - round_.true
    assert near(float(noise.std()), np.sqrt(len(round_.noise)) * by.deviation * by.grid, by.entries)
    assert abs(noise.mean()) < FAR * noise.std() / np.sqrt(by.entries)


def test_it_is_all_that_was_promised_though_one_is_lost_and_one_colludes(round_: Opened) -> None:
    """Who colludes takes its own share off the sum."""
    by = round_.mechanism
    left = round_.sum - round_.true - round_.noise["birch"]
    promise = by.noise_multiplier * by.clip
    assert by.noise_multiplier == noise_multiplier(STUDY)
    assert left.std() > promise * (1 - FAR / np.sqrt(2 * by.entries))
    assert len(round_.noise) - 1 >= HONEST


def test_all_others_together_find_a_share_of_it(round_: Opened) -> None:
    """Everything but alder's is known to them: what is left is alder's own sum under its own share."""
    by = round_.mechanism
    share = by.noise_multiplier * by.clip / np.sqrt(HONEST)
    left = round_.sum - round_.true - np.sum([round_.noise[name] for name in round_.noise if name != "alder"], axis=0)
    np.testing.assert_allclose(left, round_.noise["alder"], atol=1e-9)
    assert near(float(left.std()), by.deviation * by.grid, by.entries)
    assert left.std() > share * (1 - FAR / np.sqrt(2 * by.entries))


def test_shares_know_nothing_of_each_other(round_: Opened) -> None:
    shares = list(round_.noise.values())
    found = np.corrcoef(shares) - np.eye(len(shares))
    assert np.abs(found).max() < FAR / np.sqrt(round_.mechanism.entries)


def test_rounding_and_noise_cost_hardly_more_than_real_numbers_would(round_: Opened) -> None:
    by = round_.mechanism
    assert by.deviation * by.grid * np.sqrt(HONEST) < 1.003 * by.noise_multiplier * by.clip


def test_a_hospital_without_patients_adds_its_share_all_the_same(folder: Path) -> None:
    found = opened(folder / "nobody", NAMES, alder=0)
    assert near(
        float(found.noise["alder"].std()), found.mechanism.deviation * found.mechanism.grid, found.mechanism.entries
    )
