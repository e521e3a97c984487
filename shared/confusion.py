"""How often each of several classes was taken for which, and with how many right of each patient's images.

>>> ClassCounts.of(np.eye(3), np.arange(3), np.arange(3)).right
3
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan, sqrt

import numpy as np

from shared.judged import Figure, Table, known
from shared.score_bins import Floats, Ints
from shared.shares import by_patient, design_effect, wilson

ALL = "all classes"


@dataclass(frozen=True)
class ClassCounts:
    """`table` [classes, classes]: images by truth and by the likeliest class; and sums over `patients` with m images, a
    of them called rightly: Σ a², Σ a m, Σ m²."""

    table: Ints
    patients: int
    sums: tuple[int, int, int]

    @staticmethod
    def length(classes: int) -> int:
        """How many integers there are."""
        return classes * classes + 4

    @classmethod
    def of(cls, probabilities: Floats, labels: Ints, patients: Ints) -> "ClassCounts":
        """Of one site: probabilities [n, classes], labels [n], patient index [n]; n may be 0."""
        classes = probabilities.shape[1]
        called = probabilities.argmax(axis=1)
        table = np.bincount(labels * classes + called, minlength=classes * classes).reshape(classes, classes)
        right, images = by_patient((called == labels)[:, None], patients)
        sums = int((right[:, 0] ** 2).sum()), int((right[:, 0] * images).sum()), int((images**2).sum())
        return cls(table, len(images), sums)

    def to_integers(self) -> list[int]:
        """`length` integers, none negative."""
        return [*self.table.ravel().tolist(), self.patients, *self.sums]

    @classmethod
    def from_integers(cls, classes: int, values: Sequence[int]) -> "ClassCounts":
        """The inverse, of one site or of a sum."""
        table = np.array(values[: classes * classes], np.int64).reshape(classes, classes)
        patients, *sums = values[classes * classes :]
        return cls(table, patients, (sums[0], sums[1], sums[2]))

    @property
    def images(self) -> int:
        """Images counted."""
        return int(self.table.sum())

    @property
    def right(self) -> int:
        """Images called rightly."""
        return int(np.trace(self.table))

    def figures(self) -> tuple[Figure, Figure]:
        """Accuracy, patients as clusters, and balanced accuracy, the mean over classes that anybody has."""
        accuracy = self.right / self.images if self.images else nan
        effect = design_effect(self.right, self.images, self.patients, self.sums)
        low, high = wilson(accuracy, self.images / effect)
        truths = self.table.sum(axis=1)
        there = truths > 0
        recalls = np.diag(self.table)[there] / truths[there]
        balanced = float(recalls.mean()) if there.any() else nan
        # of independent images of each class, all of them with the design effect of all
        spread = 1.96 * sqrt(effect * float((recalls * (1 - recalls) / truths[there]).sum())) / max(1, there.sum())
        return (
            Figure("accuracy", known(accuracy), "Accuracy", known(low), known(high), of=ALL),
            Figure(
                "balanced_accuracy",
                known(balanced),
                "Balanced accuracy",
                known(max(0.0, balanced - spread)),
                known(min(1.0, balanced + spread)),
                of=ALL,
            ),
        )

    def shown(self, labels: Sequence[str]) -> tuple[Table, ...]:
        """The table of who was taken for what, with the share of each class called rightly."""
        if not self.images:
            return ()
        rows = []
        for k, label in enumerate(labels):
            counts = [int(value) for value in self.table[k]]
            rows.append((label, *counts, counts[k] / sum(counts) if sum(counts) else None))
        columns = ("truth", *(f"called {label}" for label in labels), "called rightly")
        return (Table("Which class was taken for which", columns, tuple(rows), note="The likeliest class is called."),)
