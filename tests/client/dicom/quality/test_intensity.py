"""Histograms in which every image weighs the same."""

import numpy as np
import pytest

from client.dicom.quality.intensity import BINS, pooled


def test_two_images_weigh_the_same() -> None:
    """One of 256 points at 0, one of 256 at 64: half each, in the first and the last bin."""
    found = pooled("CT", [(0.0,) * 256, (64.0,) * 256])
    assert found is not None
    assert (found.modality, found.images, found.low, found.high) == ("CT", 2, 0, 64)
    assert (found.shares[0], found.shares[-1], sum(found.shares)) == (0.5, 0.5, 1)
    assert len(found.shares) == BINS
    assert found.percentiles == (0, 0, 32, 64, 64)


def test_outliers_do_not_widen_the_range_and_are_not_lost() -> None:
    points = (*np.linspace(0, 1, 20_000).tolist(), 1e9)
    found = pooled("MR", [points])
    assert found is not None
    assert found.high < 1.01
    assert sum(found.shares) == pytest.approx(1)


def test_an_image_of_padding_is_not_counted() -> None:
    found = pooled("CT", [(), (1.0, 2.0)])
    assert found is not None
    assert found.images == 1


def test_of_nothing_there_is_no_histogram() -> None:
    assert pooled("CT", []) is None
    assert pooled("CT", [()]) is None


def test_one_value_is_one_bin() -> None:
    found = pooled("CT", [(7.0, 7.0)])
    assert found is not None
    assert (found.low, found.high, found.shares[0]) == (7, 7, 1)
