import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InputError
from simulations.partition import dirichlet


@given(
    labels=st.lists(st.integers(0, 3), min_size=1, max_size=60),
    sites=st.integers(1, 6),
    concentration=st.floats(0.05, 100),
    seed=st.integers(0, 2**32),
)
def test_every_patient_is_at_exactly_one_site(labels: list[int], sites: int, concentration: float, seed: int) -> None:
    parts = dirichlet(np.array(labels), sites=sites, concentration=concentration, seed=seed, least=0)
    assert len(parts) == sites
    assert all((np.diff(part) > 0).all() for part in parts)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))


def test_the_same_seed_gives_the_same_sites_and_another_seed_others() -> None:
    labels = np.arange(200) % 2
    first, again, other = (dirichlet(labels, sites=4, concentration=0.5, seed=seed) for seed in (7, 7, 8))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_no_site_holds_fewer_than_the_least() -> None:
    labels = np.arange(400) % 2
    for seed in range(20):
        parts = dirichlet(labels, sites=8, concentration=0.3, seed=seed, least=12)
        assert min(map(len, parts)) >= 12


def test_a_small_concentration_separates_labels_and_a_large_one_mixes_them() -> None:
    labels = np.arange(4000) % 2

    def skew(concentration: float) -> float:
        """Mean distance of the sites' share of label 1 from one half, over some seeds."""
        parts = [
            part for seed in range(10) for part in dirichlet(labels, sites=5, concentration=concentration, seed=seed)
        ]
        return float(np.mean([abs(labels[part].mean() - 0.5) for part in parts]))

    assert skew(1000) < 0.02
    assert skew(0.5) > 0.1


def test_a_label_that_nobody_has_is_no_matter() -> None:
    parts = dirichlet(np.full(30, 3), sites=3, concentration=1.0, seed=0)
    assert sum(map(len, parts)) == 30


@pytest.mark.parametrize(
    ("sites", "concentration", "least"),
    [(0, 1.0, 1), (2, 0.0, 1), (2, -1.0, 1), (2, float("nan"), 1), (2, 1.0, -1), (3, 1.0, 4)],
)
def test_numbers_that_allow_no_partition_are_refused(sites: int, concentration: float, least: int) -> None:
    with pytest.raises(InputError, match="partition"):
        dirichlet(np.zeros(10, np.int64), sites=sites, concentration=concentration, seed=0, least=least)


def test_a_wish_that_no_draw_meets_is_refused_after_a_while() -> None:
    with pytest.raises(InputError, match="none in 1000"):
        dirichlet(np.arange(40) % 2, sites=8, concentration=0.01, seed=0, least=5)
