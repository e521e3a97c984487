"""How well the hospital can be told from the image, and what a model's figure owes to it.

A model may learn who took an image in place of what it shows: where hospitals differ in how often they see the finding,
knowing the hospital is worth something, and of no use in any one of them. Three figures say so, on held-out patients:

- `told`: the area by which one hospital's images are told from all others', averaged over hospitals (0.5: not at all),
  of a linear classifier on fixed wavelet statistics of the study's own tensors, trained on the training patients.
- `without_images`: the pooled area of a guess that knows the hospital and nothing of the image.
- `pooled` beside `within`: a model's pooled and site-stratified area; what the first has over the second is the
  hospital's, not the image's.

Simulations only: the images of all hospitals are looked at in one place.
"""

from collections.abc import Mapping, Sequence
from math import nan

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from client.images import Images, Split
from shared.judged import Table, known
from shared.metrics import BinaryCounts
from shared.models.wavelets import Wavelets
from shared.wire import Record

Floats = NDArray[np.float64]
#: Images of one hospital and split that are looked at, at most, evenly taken; weight of the squares of the weights.
MOST, RIDGE = 1000, 1e-2


class Shortcut(Record, frozen=True):
    """`told` by hospital and their mean; `accuracy` of naming the hospital, beside `chance` (the largest's share);
    `without_images` as above, None where labels are not two. A figure that does not exist is nan."""

    told: dict[str, float]
    mean: float
    accuracy: float
    chance: float
    without_images: float | None

    @property
    def table(self) -> Table:
        """For a report."""
        rows = [(f"{name} told from the others (AUC)", area) for name, area in self.told.items()]
        rows += [("all, on average", self.mean), ("hospital named right", self.accuracy), ("by chance", self.chance)]
        if self.without_images is not None:
            rows.append(("finding guessed from the hospital alone (pooled AUC)", self.without_images))
        shown = tuple((what, known(value)) for what, value in rows)
        return Table("Can the hospital be told from the image?", ("", "held-out images"), shown)


def shortcut_of(sites: Mapping[str, Images], *, binary: bool) -> Shortcut:
    """The figures of the images of `sites`; `binary`: targets are 0 and 1, the last the finding. Hospitals without
    training or without test images can be told from nobody."""
    there = {name: images for name, images in sites.items() if _has_both(images)}
    told, without = dict.fromkeys(sites, nan), _without_images(list(sites.values())) if binary else None
    if len(there) < 2:
        return Shortcut(told=told, mean=nan, accuracy=nan, chance=nan, without_images=without)
    names = list(there)
    train, test = (_gathered(list(there.values()), split) for split in (Split.TRAIN, Split.TEST))
    scores = _classified(*train, test[0], len(names))  # [n, sites]
    owner = test[1]
    patients = np.arange(len(owner))
    areas = {
        name: BinaryCounts.of(scores[:, place], (owner == place).astype(np.int64), patients).pooled_auc
        for place, name in enumerate(names)
    }
    return Shortcut(
        told=told | areas,
        mean=float(np.mean(list(areas.values()))),
        accuracy=float((scores.argmax(axis=1) == owner).mean()),
        chance=float(np.bincount(owner).max() / len(owner)),
        without_images=without,
    )


def _has_both(images: Images) -> bool:
    return all(len(images.rows(split)) for split in (Split.TRAIN, Split.TEST))


def _gathered(sites: Sequence[Images], split: Split) -> tuple[Floats, NDArray[np.int64]]:
    """Statistics of the images of `split` of all sites, [n, F], and whose each is, [n]."""
    shape = sites[0].pixels.shape[1:]
    bank = Wavelets(channels=shape[0], scales=3, angles=4, order=1, turned=True, levels=8)
    found, owner = [], []
    for place, images in enumerate(sites):
        rows = images.rows(split)
        rows = rows[:: max(1, -(-len(rows) // MOST))]
        for start in range(0, len(rows), 64):
            pixels = torch.from_numpy(images.tensors(rows[start : start + 64]))
            with torch.no_grad():
                found.append(bank(_plane(pixels)).double().numpy())
        owner.append(np.full(len(rows), place))
    return np.concatenate(found), np.concatenate(owner)


def _plane(pixels: torch.Tensor) -> torch.Tensor:
    """Images as they are; of volumes [n, C, D, H, W] the middle slice."""
    return pixels if pixels.dim() == 4 else pixels[:, :, pixels.shape[2] // 2]


def _classified(features: Floats, owner: NDArray[np.int64], others: Floats, sites: int) -> Floats:
    """Probability of each site for each of `others`, [n, sites], by multinomial logistic regression on `features`,
    standardised, every site weighing the same."""
    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-9
    known, asked = (_with_one((values - mean) / deviation) for values in (features, others))
    truth = np.eye(sites)[owner]
    weight = (1 / np.bincount(owner, minlength=sites))[owner] / sites

    def objective(flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(known.shape[1], sites)
        probability = _softmax(known @ weights)
        loss = -(weight * np.log((probability * truth).sum(axis=1) + 1e-300)).sum() + RIDGE / 2 * (weights**2).sum()
        gradient = known.T @ (weight[:, None] * (probability - truth)) + RIDGE * weights
        return float(loss), gradient.reshape(-1)

    start = np.zeros(known.shape[1] * sites)
    fitted = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 300})
    return _softmax(asked @ fitted.x.reshape(known.shape[1], sites))


def _with_one(values: Floats) -> Floats:
    return np.hstack([values, np.ones((len(values), 1))])


def _softmax(logits: Floats) -> Floats:
    raised: Floats = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = raised / raised.sum(axis=1, keepdims=True)
    return shares


def _without_images(sites: Sequence[Images]) -> float:
    """Pooled area, on the test patients, of each site's share of the finding among its training patients."""
    scores, truth = [], []
    for images in sites:
        train, test = images.target[images.rows(Split.TRAIN)], images.target[images.rows(Split.TEST)]
        scores.append(np.full(len(test), float(np.mean(np.asarray(train) == 1)) if len(train) else 0.5))
        truth.append(np.asarray(test, np.int64))
    labels = np.concatenate(truth)
    return BinaryCounts.of(np.concatenate(scores), labels, np.arange(len(labels))).pooled_auc
