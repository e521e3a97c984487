"""The contract of shared/tasks/base.py, for every registered kind.

Every file under studies/ is one case: a study small enough for milliseconds. A new kind adds at least one file there,
named after it (KIND.toml, KIND-WHAT.toml), and nothing here.
"""

import math
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from shared.errors import OperatorError
from shared.judged import Figure, Judged, goodness
from shared.models.layers import parts_of
from shared.network import network_of
from shared.study import Study, read_study
from shared.tasks.base import Floats, Kind, blank
from shared.tasks.registry import KINDS, kind_of
from shared.wire import read_json

STUDIES = sorted((Path(__file__).parent / "studies").glob("*.toml"))
#: images, and whose they are
N, PATIENTS = 6, np.array([0, 0, 1, 2, 3, 3])
#: counts travel below this, and sums of 200 hospitals in 64 bits (shared/counts.py)
MOST = 2**47


@dataclass(frozen=True)
class Case:
    """A study with a few random images, as a hospital would hold them."""

    study: Study
    network: nn.Module
    images: NDArray[np.float32]
    target: NDArray[np.generic]

    @property
    def kind(self) -> Kind:
        return kind_of(self.study)

    def measure(self, rows: slice = slice(None), views: int = 1) -> Floats:
        with torch.inference_mode():
            pixels, target = torch.from_numpy(self.images[rows]), torch.from_numpy(self.target[rows])
            return self.kind.measure(self.network.eval(), pixels, target, views)

    def count(self, rows: slice = slice(None)) -> list[int]:
        return self.kind.count(self.measure(rows), self.target[rows], PATIENTS[rows])

    def learn(self, rows: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """What one step would be given, drawn the same every time."""
        pixels, target = torch.from_numpy(self.images[rows]), torch.from_numpy(self.target[rows])
        return self.kind.example(pixels, target, Generator().manual_seed(0))

    def weights(self) -> tuple[float, ...]:
        return (1.0,) * len(self.study.task.labels)


def target_of(study: Study, rng: np.random.Generator) -> NDArray[np.generic]:
    """What may be known of one image: anything that base.Target allows, no image like the next."""
    kind, size, labels = kind_of(study), np.array(study.input.size), len(study.task.labels)
    found = blank(study, kind.target)
    match kind.target:
        case "class":
            return np.asarray(rng.integers(labels), np.int64)
        case "classes":
            return rng.integers(0, 2, labels)
        case "value":
            least, most = (float(study.task.options.get(name, d)) for name, d in (("minimum", 0), ("maximum", 1)))
            return np.asarray(rng.uniform(least, most), np.float32)
        case "mask":
            place = tuple(slice(int(side) // 4, int(side) // 4 + int(rng.integers(2, side // 2))) for side in size)
            found[place] = rng.integers(1, max(2, labels + 1))
        case "boxes":
            low, high = size * rng.uniform(0.1, 0.3), size * rng.uniform(0.5, 0.9)
            return np.array([[rng.integers(max(1, labels)), *low, *high]], np.float32)
    return found


@cache
def case_of(path: Path) -> Case:
    study, rng = read_study(path), np.random.default_rng(7)
    images = rng.random((N, *study.input.shape), np.float32)
    targets = [target_of(study, rng) for _ in range(N)]
    if kind_of(study).target == "class":
        targets = [np.asarray(k % len(study.task.labels), np.int64) for k in range(N)]  # every class at least once
    return Case(study, network_of(study), images, np.stack(targets))


@pytest.fixture(params=STUDIES, ids=lambda path: path.stem)
def case(request: pytest.FixtureRequest) -> Case:
    return case_of(request.param)


def test_every_kind_has_a_study_named_after_it() -> None:
    found = {read_study(path).task.kind for path in STUDIES}
    assert found == set(KINDS)
    for path in STUDIES:
        assert path.stem.startswith(read_study(path).task.kind), path.name


@pytest.mark.parametrize("module", sorted(set(KINDS.values())))
def test_the_coordinator_can_read_it_without_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


class TestLearning:
    def test_a_step_is_given_what_the_network_takes(self, case: Case) -> None:
        given, target = case.learn()
        assert given.shape == (N, case.kind.channels, *case.study.input.size)
        assert len(target) == N
        assert given.dtype == torch.float32

    def test_the_loss_is_one_finite_number_an_image(self, case: Case) -> None:
        given, target = case.learn()
        losses = case.kind.loss(case.network.train()(given), target, case.weights())
        assert losses.shape == (N,)
        assert losses.dtype == torch.float32
        assert torch.isfinite(losses).all()

    def test_the_loss_of_an_image_knows_no_other_image(self, case: Case) -> None:
        given, target = case.learn()
        module = case.network.train()
        whole = case.kind.loss(module(given), target, case.weights())
        alone = [case.kind.loss(module(given[i : i + 1]), target[i : i + 1], case.weights()) for i in range(N)]
        torch.testing.assert_close(torch.cat(alone), whole, atol=1e-4, rtol=1e-4)

    def test_the_loss_moves_the_weights(self, case: Case) -> None:
        given, target = case.learn()
        module = case.network.train()
        module.zero_grad()
        torch.autograd.backward(case.kind.loss(module(given), target, case.weights()).sum())
        gradients = [p.grad for p in module.parameters() if p.requires_grad and p.grad is not None]
        assert gradients
        assert all(torch.isfinite(gradient).all() for gradient in gradients)
        assert any(gradient.abs().max() > 0 for gradient in gradients)

    def test_a_network_that_is_sure_of_nonsense_has_a_finite_loss(self, case: Case) -> None:
        given, target = case.learn()
        output = case.network.train()(given)
        if not isinstance(output, Tensor):
            output, _ = parts_of(output)
        for much in (1e4, -1e4):
            assert torch.isfinite(case.kind.loss(output * much, target, case.weights())).all()

    def test_presence_is_said_of_every_label(self, case: Case) -> None:
        for rows in (slice(None), slice(0, 0)):
            present = case.kind.presence(case.target[rows])
            assert present.shape == (len(case.target[rows]), len(case.study.task.labels))
            assert present.dtype == np.bool_


class TestMeasuring:
    def test_no_image_is_left_out_and_none_is_measured_twice(self, case: Case) -> None:
        found = case.measure()
        assert found.dtype == np.float64
        assert found.ndim == 2
        assert len(found) == N
        assert case.measure(slice(0, 0)).shape == (0, found.shape[1])

    def test_the_measures_of_an_image_know_no_other_image(self, case: Case) -> None:
        alone = np.concatenate([case.measure(slice(i, i + 1)) for i in range(N)])
        np.testing.assert_allclose(alone, case.measure(), atol=1e-4, rtol=1e-4)

    def test_several_views_give_as_many_measures(self, case: Case) -> None:
        assert case.measure(views=2).shape == case.measure().shape


class TestCounting:
    def test_as_many_integers_whatever_is_there(self, case: Case) -> None:
        for rows in (slice(None), slice(0, 1), slice(0, 0)):
            counts = case.count(rows)
            assert len(counts) == case.kind.counts
            assert all(type(value) is int for value in counts)
            assert max(map(abs, counts), default=0) < MOST

    def test_of_nobody_nothing_is_counted(self, case: Case) -> None:
        assert set(case.count(slice(0, 0))) == {0}

    def test_order_does_not_matter(self, case: Case) -> None:
        order = np.array([4, 1, 5, 0, 3, 2])
        measures = case.measure()
        turned = case.kind.count(measures[order], case.target[order], PATIENTS[order])
        np.testing.assert_allclose(turned, case.kind.count(measures, case.target, PATIENTS), atol=2)

    def test_two_hospitals_count_what_both_hold(self, case: Case) -> None:
        first, second = case.count(slice(0, 3)), case.count(slice(3, N))
        both = case.kind.judge([a + b for a, b in zip(first, second, strict=True)])
        assert both.images == case.kind.judge(case.count()).images
        assert both.images == case.kind.judge(first).images + case.kind.judge(second).images > 0


def every_judged(case: Case) -> list[Judged]:
    counts = case.count()
    many = [200 * value for value in counts]
    return [case.kind.judge(counts), case.kind.judge(counts, counts), case.kind.judge(many, counts)]


class TestJudging:
    def test_figures_can_be_shown(self, case: Case) -> None:
        for judged in every_judged(case):
            names = [(figure.name, figure.of) for figure in judged.figures]
            assert len(set(names)) == len(names)
            for figure in judged.figures:
                assert re.fullmatch(r"[a-z][a-z0-9_]*", figure.name)
                assert figure.shown
                check_figure(figure)

    def test_curves_and_tables_can_be_shown(self, case: Case) -> None:
        for judged in every_judged(case):
            axes: dict[str, tuple[str, str]] = {}
            for curve in judged.curves:
                assert len(curve.x) == len(curve.y)
                assert all(map(math.isfinite, (*curve.x, *curve.y)))
                assert axes.setdefault(curve.chart, (curve.x_label, curve.y_label)) == (curve.x_label, curve.y_label)
            for table in judged.tables:
                assert all(len(row) == len(table.columns) for row in table.rows)
                numbers = [cell for row in table.rows for cell in row if isinstance(cell, float)]
                assert all(map(math.isfinite, numbers))

    def test_a_record_of_it_is_written_and_read_as_the_same(self, case: Case) -> None:
        for judged in every_judged(case):
            assert read_json(msgspec.json.encode(judged), Judged) == judged

    def test_the_headline_is_the_same_figure_in_every_run(self, case: Case) -> None:
        zeros = case.kind.judge([0] * case.kind.counts)
        for judged in every_judged(case):
            assert (judged.headline.name, judged.headline.better) == (zeros.headline.name, zeros.headline.better)
            assert judged.kind == case.study.task.kind

    def test_of_nobody_there_are_no_figures(self, case: Case) -> None:
        zeros = [0] * case.kind.counts
        for judged in (case.kind.judge(zeros), case.kind.judge(zeros, zeros), case.kind.judge(zeros, case.count())):
            assert judged.images == 0
            assert judged.headline.value is None
            assert goodness(judged.headline) == -math.inf
            assert all(figure.value in (None, 0) for figure in judged.figures)

    @pytest.mark.parametrize("absurd", [2**62, -(2**40), -1, 2**63 - 1])
    def test_sums_that_no_hospitals_can_have_sent_are_refused(self, case: Case, absurd: int) -> None:
        with pytest.raises(OperatorError):
            case.kind.judge([absurd] * case.kind.counts)

    def test_one_absurd_number_alone_breaks_nothing(self, case: Case) -> None:
        """Refused, or judged to something that can be shown: never another error."""
        counts = case.count()
        for place in np.unique(np.linspace(0, len(counts) - 1, 40, dtype=int)):
            for absurd in (2**50, -(2**20), 10**6):
                bad = [*counts[:place], absurd, *counts[place + 1 :]]
                try:
                    judged = case.kind.judge(bad, bad)
                except OperatorError:
                    continue
                for figure in judged.figures:
                    check_figure(figure)


def check_figure(figure: Figure) -> None:
    """Finite, and inside its interval where it has one."""
    for value in (figure.value, figure.low, figure.high):
        assert value is None or math.isfinite(value), figure
    if figure.value is not None and figure.low is not None and figure.high is not None:
        assert figure.low - 1e-9 <= figure.value <= figure.high + 1e-9, figure
