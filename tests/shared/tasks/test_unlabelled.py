import numpy as np
import pytest
import torch
from msgspec.structs import replace

from shared.errors import InputError
from shared.study import MINIMAL, parse_study
from shared.tasks.means import Means
from shared.tasks.unlabelled import Unlabelled, check_made, check_views


def test_figures_are_means_over_patients_and_nothing_known_is_looked_at() -> None:
    kind, means = Unlabelled(Means(((0.0, 10.0),))), Means(((0.0, 10.0),))
    measures, patients = np.array([[2.0], [4.0], [6.0]]), np.array([0, 0, 1])
    counts = kind.count(measures, np.zeros(3, np.int64), patients)
    assert (kind.counts, kind.target, kind.noisy) == (len(counts), "none", False)
    assert means.read(counts).mean(0) == pytest.approx(4.5)
    assert kind.presence(np.zeros(3, np.int64)).shape == (3, 0)


def test_several_views_are_refused() -> None:
    study = parse_study(MINIMAL)
    check_views(study)
    with pytest.raises(InputError, match=r"evaluation\.views: expected 1 with classification, got 2"):
        check_views(replace(study, evaluation=replace(study.evaluation, views=2)))


def test_a_network_that_makes_something_else_is_refused() -> None:
    check_made(torch.zeros(5, 1, 4, 4), (1, 4, 4), "images", "restorer")
    with pytest.raises(InputError, match=r"images \[1, 4, 4\], such as restorer, got one that returns \[1, 4, 8\]"):
        check_made(torch.zeros(5, 1, 4, 8), (1, 4, 4), "images", "restorer")
