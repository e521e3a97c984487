"""One evaluation at a hospital: the held-out patients of one split, as integers to be masked.

Pure but for reading the images. Counts of a subgroup that rests on fewer patients than the policy's smallest count are
zeros, and said to be hidden; so are as many more of its kind (sex, age, manufacturer) as it takes for those hidden to
rest on so many together, because all images less the groups that are shown tell them. Noisy counts are made by
client/privacy/evaluation.py, and then nothing exact beside them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from client.images import Images, Split
from client.privacy.evaluation import noisy_counts
from client.privacy.stream import SecureStream
from client.training.evaluate import measures
from shared.accounting import evaluation_noise
from shared.evaluated import Evaluated
from shared.judged import Judged
from shared.messages.shown import OwnFigures
from shared.study import Study
from shared.subgroups import by_kind, subgroups
from shared.tasks.base import Floats
from shared.tasks.registry import kind_of


@dataclass(frozen=True)
class Looked:
    """One split as a model sees it: `measures` float64 [n, …] of the images `rows`."""

    study: Study
    images: Images
    split: Split
    measures: Floats

    @property
    def rows(self) -> NDArray[np.int64]:
        """The images, int64 [n]."""
        return self.images.rows(self.split)

    def counts(self, smallest: int = 1) -> Evaluated:
        """Of everybody and of each subgroup; with noise where the study asks for it."""
        kind, rows = kind_of(self.study), self.rows
        target, patient = self.images.target[rows], self.images.patient[rows]
        sigma = evaluation_noise(self.study, int(self.split))
        if sigma is not None:
            noisy = noisy_counts(
                self.measures[:, -1],
                np.asarray(target, np.int64),
                patient,
                sigma=sigma,
                images_per_patient=self.study.evaluation.images_per_patient,
                stream=SecureStream(),
            )
            return Evaluated(tuple(noisy.to_integers()))
        everybody = tuple(kind.count(self.measures, target, patient))
        groups, kept_back = self._groups(rows), self._kept_back(rows, patient, smallest)
        shown = [inside & (not few) for inside, few in zip(groups, kept_back, strict=True)]
        counted = tuple(tuple(kind.count(self.measures[one], target[one], patient[one])) for one in shown)
        return Evaluated(everybody, counted, tuple(map(int, kept_back)))

    def _kept_back(self, rows: NDArray[np.int64], patient: NDArray[np.int64], smallest: int) -> list[bool]:
        """Of each subgroup whether it is hidden."""
        left, found = list(self._groups(rows)), list[bool]()
        for kind in by_kind(self.study.evaluation):
            own, left = left[: len(kind)], left[len(kind) :]
            found += hidden_of(own, patient, smallest)
        return found

    def _groups(self, rows: NDArray[np.int64]) -> Sequence[NDArray[np.bool_]]:
        """bool [n] for each subgroup of the study."""
        number = len(subgroups(self.study.evaluation))
        if self.images.groups is None:
            return [np.zeros(len(rows), bool)] * number
        return list(self.images.groups[rows].T)


def hidden_of(groups: Sequence[NDArray[np.bool_]], patient: NDArray[np.int64], smallest: int) -> list[bool]:
    """Which of `groups`, each bool [n], every image in one of them, are not shown: those of fewer than `smallest`
    patients, and the smallest others until those hidden rest on so many together, or none is left."""
    people = [len(np.unique(patient[inside])) for inside in groups]
    hidden = [0 < count < smallest for count in people]
    for place in sorted(range(len(groups)), key=people.__getitem__):
        together = patient[np.any([inside for inside, few in zip(groups, hidden, strict=True) if few], axis=0)]
        if not 0 < len(np.unique(together)) < smallest:
            break
        hidden[place] |= people[place] > 0
    return hidden


def look(study: Study, module: nn.Module, images: Images, split: Split) -> Looked:
    """`module` on the images of `split`; each on its own where counts will be noisy."""
    kind, rows = kind_of(study), images.rows(split)
    if evaluation_noise(study, int(split)) is None:
        return Looked(study, images, split, measures(kind, module, images, rows, study.evaluation.views))
    return Looked(study, images, split, measures(kind, module, images, rows, study.evaluation.views, batch=1))


def own_figures(judged: Judged) -> OwnFigures:
    """One hospital's headline with its interval."""
    head, positives = judged.headline, judged.figure("positives")
    found = positives.value if positives is not None else None
    return OwnFigures(
        name=head.name,
        value=head.value,
        low=head.low,
        high=head.high,
        n=judged.images,
        positives=None if found is None else int(found),
    )
