"""Mean and covariance of features from sums that can be masked, and how far apart two such clouds are.

Features lie between `LOW` and `HIGH`; what is outside is taken for the end. Sums are fixed point and never negative:
features as shares of the range, and the products of every two of them.

    >>> one, two = Cloud(9, np.zeros(2), np.eye(2)), Cloud(9, np.array([3.0, 4.0]), 4 * np.eye(2))
    >>> round(frechet(one, two), 6)
    27.0
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.errors import unlikely
from shared.tasks.base import Floats

LOW, HIGH = -5.0, 5.0
#: Steps of the range; no sum of images reaches MOST.
UNIT = 1 << 26
MOST = 1 << 60


@dataclass(frozen=True)
class Cloud:
    """`images`, the `mean` [F] and the `covariance` [F, F] of their features."""

    images: int
    mean: Floats
    covariance: Floats


@dataclass(frozen=True)
class Moments:
    """Of `features` numbers for each image."""

    features: int

    @property
    def counts(self) -> int:
        """How many integers `count` gives."""
        return 1 + self.features + self.features * (self.features + 1) // 2

    def count(self, features: Floats) -> list[int]:
        """Of [n, F]: n, the sums, and the sums of products, of which each pair stands once."""
        shares = np.clip((np.nan_to_num(features) - LOW) / (HIGH - LOW), 0, 1)
        products = (shares.T @ shares)[np.triu_indices(self.features)]
        sums = np.concatenate([shares.sum(axis=0), products])
        return [len(features), *map(int, np.rint(sums * UNIT))]

    def read(self, values: Sequence[int]) -> Cloud | None:
        """Of a sum of counts; None of fewer than two images. Raises OperatorError for those of no images."""
        images, sums = values[0], np.asarray(values[1:], dtype=object)
        if min(values) < 0 or max(values) >= MOST or (images == 0 and max(values) > 0):
            raise unlikely("counts of images and sums of their features", f"{images} images")
        if (sums > images * UNIT).any():
            raise unlikely(f"features of {images} images below their largest", f"{max(values)}")
        if images < 2:
            return None
        shares = sums.astype(np.float64) / (images * UNIT)
        mean, products = shares[: self.features], np.zeros((self.features, self.features))
        products[np.triu_indices(self.features)] = shares[self.features :]
        products = np.triu(products) + np.triu(products, 1).T
        if (products.diagonal() + 4 / UNIT < mean**2).any():
            raise unlikely("sums of squares that are no less than the squares of the sums", "less")
        covariance = (products - np.outer(mean, mean)) * images / (images - 1)
        return Cloud(images, LOW + (HIGH - LOW) * mean, (HIGH - LOW) ** 2 * covariance)


def frechet(one: Cloud, two: Cloud) -> float:
    """Squared Fréchet distance of two normal distributions (Dowson and Landau 1982; FID, Heusel et al. 2017, arXiv
    1706.08500, eq. 6, with other features): ‖m₁ − m₂‖² + tr(S₁ + S₂ − 2 (S₁ S₂)^½), never below 0."""
    values, axes = np.linalg.eigh(one.covariance)
    root = (axes * np.sqrt(np.clip(values, 0, None))) @ axes.T
    mixed = np.linalg.eigvalsh(root @ two.covariance @ root)  # as many as S₁ S₂ has, but of a symmetric matrix
    spread = np.trace(one.covariance) + np.trace(two.covariance) - 2 * np.sqrt(np.clip(mixed, 0, None)).sum()
    return max(0.0, float(((one.mean - two.mean) ** 2).sum() + spread))


def spread_ratio(one: Cloud, two: Cloud) -> float:
    """How much the features of `two` vary, as a multiple of how much those of `one` do; nan where those do not."""
    total = float(np.trace(one.covariance))
    return float(np.trace(two.covariance)) / total if total > 0 else math.nan
