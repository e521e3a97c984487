"""Kinds that learn from the images alone: hospitals need no labels, and every figure is a mean over patients.

Guarantees: nothing known of an image is looked at; an image is judged in one view, as no average of what is made of
several means anything here; a network that makes something of another shape is refused by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shared.errors import InputError
from shared.study import Study
from shared.tasks.base import Floats, Target
from shared.tasks.means import Means

if TYPE_CHECKING:
    from torch import Tensor


class Unlabelled:
    """What such kinds have in common; their measures lie in the ranges of `means`."""

    target: Target = "none"
    noisy = False

    def __init__(self, means: Means) -> None:
        self._means, self.counts = means, means.counts

    def presence(self, target: NDArray[np.generic]) -> NDArray[np.bool_]:
        """No labels: [n] → [n, 0]."""
        return np.zeros((len(target), 0), bool)

    def count(self, measures: Floats, target: NDArray[np.generic], patients: NDArray[np.int64]) -> list[int]:
        """Sums over patients."""
        del target
        return self._means.count(measures, patients)


def check_views(study: Study) -> None:
    """Raises InputError for a study of several views."""
    if study.evaluation.views != 1:
        expected = f"1 with {study.task.kind}"
        raise InputError("evaluation.views", expected=expected, got=f"{study.evaluation.views}")


def check_made(made: Tensor, expected: Sequence[int], what: str, model: str) -> None:
    """Raises InputError unless a network made [n, *`expected`], which is called `what` and which `model` makes."""
    if list(made.shape[1:]) != list(expected):
        raise InputError(
            "model.name",
            expected=f"a model that returns {what} {list(expected)}, such as {model}",
            got=f"one that returns {list(made.shape[1:])}",
        )
