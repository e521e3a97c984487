"""The planner: its figures by hand, against the noise that is really added, and what it refuses and warns of."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer

from client.privacy.release import release
from client.privacy.stream import SecureStream
from shared.accounting import evaluation_noise, noise_multiplier, rdp_epsilon, round_event
from shared.console import run
from shared.errors import InputError, MisuseError
from shared.mechanism import Mechanism
from shared.study import MINIMAL, Study, parse_study
from simulations.plan import plan_of
from simulations.plan_cli import plan
from simulations.plan_noise import noise_of
from simulations.plan_tables import epsilons, noises, rates
from simulations.plan_warnings import warnings_of

LOCAL = 'mode = "local"\nepsilon = 8.0\ndelta = 1e-5\nclip = 1.0\nsampling_rate = 0.2'
#: 5 hospitals, threshold 0.6, 1 colluder: t = 4, so that 3 honest ones must make the noise.
DISTRIBUTED = LOCAL.replace("local", "distributed")


def sigma_of(asked: Study) -> float:
    sigma = noise_multiplier(asked)
    assert sigma is not None
    return sigma


def study(privacy: str = LOCAL, *changes: tuple[str, str], more: str = "") -> Study:
    text = MINIMAL.replace('mode = "off"', privacy)
    if "distributed" in privacy:
        text = text.replace("local_steps = 2", "local_steps = 1")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return parse_study(text + more)


def test_the_noise_of_a_local_step_by_hand() -> None:
    """σ C ÷ batch at each of 4 hospitals, half of that in their mean; its length is √100 times as much. The grid of a
    clip of 1 over 100 entries is 2^-14, and rounding and arithmetic add to the sensitivity."""
    noise, sigma = noise_of(study(), sites=4, entries=100, expected=None), sigma_of(study())
    total = math.sqrt((sigma * (2**14 * (1 + 2**-10) + 10)) ** 2 + 16) / 2**14
    assert noise.deviation == pytest.approx(total / 8 / 2, rel=1e-12)
    assert noise.norm == pytest.approx(total * 10 / 8 / 2, rel=1e-12)
    assert noise.per_clip == noise.norm
    assert noise.surplus == pytest.approx(1.0, abs=2e-3)
    assert noise.share_deviation is None


def test_the_noise_of_a_distributed_step_by_hand() -> None:
    asked = study(DISTRIBUTED)
    noise = noise_of(asked, sites=5, entries=100, expected=4.0)
    assert noise.surplus == pytest.approx(math.sqrt(5 / 3), rel=2e-3)
    assert noise.deviation == pytest.approx(noise.surplus * sigma_of(asked) / 8, rel=1e-12)
    assert noise.per_clip == pytest.approx(2 * noise.norm, rel=1e-12)  # 4 drawn, 8 divide: half as long a signal


def test_without_privacy_there_is_no_noise_to_plan() -> None:
    with pytest.raises(MisuseError, match="expected privacy"):
        noise_of(parse_study(MINIMAL), sites=5, entries=100, expected=None)


def test_adaptive_clipping_leaves_less_for_the_gradient_and_sees_shares_through_noise() -> None:
    adaptive = study(DISTRIBUTED + "\nclip_quantile = 0.5")
    noise = noise_of(adaptive, sites=5, entries=99, expected=None)
    assert noise.share_deviation == pytest.approx(noise.deviation / 0.25, rel=1e-12)
    assert noise.per_clip == pytest.approx(noise.norm / math.sqrt(1 - 0.25**2 / 4), rel=1e-12)


def test_the_planned_noise_is_what_hospitals_add() -> None:
    """20,000 draws: their deviation is within 4 % of the planned one but for a chance below 10^-9."""
    entries, sites = 20_000, 3
    asked = study(DISTRIBUTED)
    noise = noise_of(asked, sites=sites, entries=entries, expected=None)
    mechanism = Mechanism(clip=1.0, noise_multiplier=sigma_of(asked), entries=entries, honest=2, sites=sites)
    words = sum(release(np.zeros(entries), mechanism, SecureStream()) for _ in range(sites))
    assert np.std(words * mechanism.grid / 8) == pytest.approx(noise.deviation, rel=0.04)


def test_a_plan_spends_what_the_ledger_will_count() -> None:
    asked = study(LOCAL, more="[evaluation]\nepsilon = 2.0\ndelta = 1e-6\nevery = 2\n")
    found = plan_of(asked, sites=4, patients=160)
    sigma = sigma_of(asked)
    assert found.privacy is not None
    assert (found.privacy.noise_multiplier, found.privacy.steps) == (sigma, 4)
    assert found.privacy.rdp_epsilon == rdp_epsilon([round_event(asked, sigma)] * 2, 1e-5)
    assert 0 < found.privacy.prv_epsilon < found.privacy.rdp_epsilon <= 8.0
    assert found.expected == 8.0
    assert [(each.split, each.times) for each in found.evaluations] == [("validation", 1), ("test", 1)]
    for each, split in zip(found.evaluations, (1, 2), strict=True):
        assert each.spent is not None
        assert (each.spent.noise_multiplier, each.spent.delta) == (evaluation_noise(asked, split), 1e-6)
        assert each.spent.rdp_epsilon <= 2.0


def test_patients_of_a_step_are_all_hospitals_in_one_mode_and_each_ones_in_the_other() -> None:
    assert plan_of(study(DISTRIBUTED), sites=5, patients=1000).expected == pytest.approx(200)
    assert plan_of(study(LOCAL), sites=5, patients=1000).expected == pytest.approx(40)
    assert plan_of(study(LOCAL), sites=5).expected is None


def test_bytes_and_trips_by_hand() -> None:
    """2 rounds, evaluated after each and once on the test: 5 sums of 3 trips; float32 down in each, words up in two."""
    found = plan_of(study())
    size = found.parameters
    assert (found.traffic.round_down, found.traffic.round_up) == (4 * size, 4 * size)
    assert (found.traffic.run_down, found.traffic.run_up, found.traffic.trips) == (20 * size, 8 * size, 15)
    adaptive = plan_of(study(DISTRIBUTED + "\nclip_quantile = 0.5"))
    assert adaptive.traffic.round_up == 4 * (size + 1)
    narrow = plan_of(study(LOCAL, more='[aggregation]\nbits = 16\nadversary = "semi-honest"\n'))
    assert 2 * size <= narrow.traffic.round_up < 4 * size
    assert narrow.traffic.trips == 10


def test_without_privacy_there_is_traffic_only() -> None:
    found = plan_of(parse_study(MINIMAL), patients=100)
    assert (found.privacy, found.noise, found.tables, found.expected) == (None, None, None, None)
    assert found.traffic.round_down > 0
    assert warnings_of(found) == ()


def test_tables_have_the_study_itself_in_their_middle() -> None:
    asked = study()
    sigma = sigma_of(asked)
    by_noise, by_target = epsilons(asked, sigma), noises(asked, (1.0, 8.0))
    assert (by_noise.rows, by_noise.columns[2]) == ((1, 2, 4, 8), sigma)
    assert by_noise.values[1][2] == rdp_epsilon([round_event(asked, sigma)] * 2, 1e-5)
    assert (by_target.rows, by_target.columns) == ((1.0, 8.0), (1, 2, 4, 8))
    assert by_target.values[1][1] == sigma
    for values in by_noise.values:
        assert list(values) == sorted((value for value in values if value is not None), reverse=True)


def test_other_rates_take_the_batch_along() -> None:
    asked = study()
    sigma = sigma_of(asked)
    found = rates(asked, sigma, per_clip=2.0)
    assert [(rate.sampling_rate, rate.batch) for rate in found] == [(0.05, 2), (0.1, 4), (0.2, 8), (0.4, 16), (0.8, 32)]
    assert (found[2].noise_multiplier, found[2].per_clip) == (sigma, 2.0)
    assert [rate.epsilon for rate in found] == sorted(rate.epsilon for rate in found)
    assert rates(study(LOCAL.replace("0.2", "0.5")), sigma, 2.0)[-1].sampling_rate == 1.0


def test_a_target_beyond_all_noise_has_no_figure() -> None:
    assert noises(study(), (1e-4,)).values[0] == (None, None, None, None)


@pytest.mark.parametrize(
    ("privacy", "sites", "patients", "message"),
    [
        (LOCAL.replace("8.0", "0.0001"), 2, None, r"privacy\.epsilon: expected a target"),
        (LOCAL, 1, None, r"--sites: expected 2 \(federation\.min_sites\) to 200, got 1"),
        (LOCAL, 201, None, r"--sites"),
        (LOCAL, 5, 4, r"--patients: expected one or more at each of 5 hospitals, got 4"),
    ],
)
def test_what_cannot_be_met_is_refused(privacy: str, sites: int, patients: int | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan_of(study(privacy), sites=sites, patients=patients)


@pytest.mark.parametrize("privacy", [LOCAL, DISTRIBUTED])
def test_noise_that_32_bits_do_not_hold_is_refused(privacy: str) -> None:
    """The grid of 2^24 entries is so fine that a clip's 100-fold passes 2^31 with its tail."""
    faint = study(privacy.replace("8.0", "0.02").replace("0.2", "1.0"))
    assert sigma_of(faint) > 100
    with pytest.raises(InputError, match=r"privacy: expected noise that a sum holds.*32 bits"):
        noise_of(faint, sites=2, entries=2**24, expected=None)


def test_a_good_study_is_warned_of_nothing() -> None:
    small = ("[training]", "[model.options]\nblocks = 2\nwidth = 4\nhidden = 0\n[training]")
    good = study(DISTRIBUTED, small, ("batch = 8", "batch = 200"))
    assert warnings_of(plan_of(good, sites=5, patients=1000)) == ()


@pytest.mark.parametrize(
    ("privacy", "changes", "more", "words"),
    [
        (DISTRIBUTED, [("batch = 8", "batch = 500")], "", "divides a sum over about 200 patients of all hospitals"),
        (LOCAL, [], "", "divides a sum over about 40 patients of each hospital"),
        (LOCAL.replace("8.0", "0.1"), [], "", "times as long as its gradient can be"),
        (LOCAL.replace("1e-5", "0.002"), [], "", "more than one in 1,000 patients"),
        (LOCAL, [], "[evaluation]\nepsilon = 1.0\ndelta = 0.002\n", "more than one in 1,000 patients"),
        (LOCAL.replace("8.0", "20.0"), [], "", "epsilon = 20 promises little"),
        (DISTRIBUTED, [], "[aggregation]\ncolluders = 1\n", None),
        (DISTRIBUTED, [("min_sites = 2", "min_sites = 5")], "[aggregation]\ncolluders = 3\n", "times what is counted"),
        (DISTRIBUTED + "\nclip_quantile = 0.95", [], "", "follow few patients"),
        (DISTRIBUTED.replace("8.0", "1.0") + "\nclip_quantile = 0.5", [], "", "the clip will wander"),
        (LOCAL, [("batch = 8", "batch = 8\ncopies = 40")], "", "80 images make one patient's gradient"),
    ],
)
def test_settings_known_to_be_bad_are_told_with_what_to_change(
    privacy: str, changes: list[tuple[str, str]], more: str, words: str | None
) -> None:
    told = " ".join(warnings_of(plan_of(study(privacy, *changes, more=more), sites=5, patients=1000)))
    assert words is None or words in told
    assert ("times what is counted" in told) == (words == "times what is counted")


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    app = typer.Typer(name="konsil-simulate", pretty_exceptions_enable=False)
    app.command()(plan)
    monkeypatch.setenv("COLUMNS", "100")

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["konsil-simulate", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            run(app)
        told = capsys.readouterr()
        return int(stop.value.code or 0), told.out, told.err

    return call


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(MINIMAL.replace('mode = "off"', LOCAL))
    return path


def test_the_command_tells_it_in_a_hundred_columns(command: Command, file: Path) -> None:
    status, out, _ = command(file, "--sites", "3", "--patients", "60", "--epsilon", "0.5,8")
    sigma = sigma_of(study())
    assert status == 0
    assert max(map(len, out.splitlines())) <= 100
    for words in (
        f"σ = {sigma:g}",
        "4 patients of each hospital",
        "exact sums",
        "ε by rounds",
        "Warning: training.batch",
    ):
        assert words in out
    assert "│ 0.5 │" in out


def test_the_command_gives_one_object_to_machines(command: Command, file: Path) -> None:
    status, out, _ = command(file, "--json")
    found = json.loads(out)
    assert (status, found["version"]) == (0, 1)
    assert found["plan"]["study"]["name"] == "minimal"
    assert found["plan"]["privacy"]["noise_multiplier"] == sigma_of(study())
    assert found["warnings"] == list(warnings_of(plan_of(study())))


def test_the_command_on_a_study_without_privacy(command: Command, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(MINIMAL)
    status, out, _ = command(tmp_path / "study.toml")
    assert status == 0
    assert "nothing bounds" in out
    assert "ε by rounds" not in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epsilon", "1,x"], "--epsilon: expected numbers above 0"),
        (["--epsilon", "0"], "--epsilon: expected numbers above 0"),
        (["--epsilon", "nan"], "--epsilon: expected numbers above 0"),
        (["--sites", "1"], "--sites: expected 2"),
    ],
)
def test_bad_input_is_one_line_and_status_2(command: Command, file: Path, options: list[str], message: str) -> None:
    status, out, error = command(file, *options)
    assert (status, out, error.count("\n")) == (2, "", 1)
    assert message in error
