"""One hospital's counts of its held-out patients, with noise: what one evaluation tells of any one of them is bounded.

Guarantees:

- Neighbouring: all images of one held-out patient of this hospital added or removed. Norm: L2. Sensitivity: 1. Every
  patient weighs 1 in all, shared equally among its images that count (its first `images_per_patient` in the order of
  rows), however many there are: a noise for patients with many images would drown those with one.
- The noise is this hospital's own and all of it: the promise holds for it alone, against everyone. One call is one
  Gaussian mechanism of multiplier `sigma`, without sampling (shared/mechanism.py says why discrete is no less private).
- Whatever is formed of the counts, here or anywhere, is formed of the noisy ones. A hospital with few held-out
  patients, with one class, or with none, does the same steps and sends as much.

The noise is added to C h instead of the histograms h: areas under curves then suffer little (shared/prefix_noise.py).
A hospital with more than 65,000 held-out patients of one class is counted too low where their scores are all alike.

Rule for the caller: a score must depend on its own image and on nothing else, so images are scored one at a time; in a
batch, a patient more may move the others' scores in their last bits, and across the edge of a bin.
"""

import numpy as np
from numpy.typing import NDArray

from client.privacy.release import release
from client.privacy.stream import SecureStream
from shared.mechanism import Mechanism
from shared.metrics import BINS, BinaryCounts, bin_of
from shared.prefix_noise import spread, strategy

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def weights_of(patients: Ints, most: int) -> Floats:
    """What each image counts for, [n]: 1 ÷ images of its `patients` entry that count, its first `most`; others 0."""
    order = np.argsort(patients, kind="stable")
    _, first, sizes = np.unique(patients[order], return_index=True, return_counts=True)
    rank = np.empty(len(patients), np.int64)
    rank[order] = np.arange(len(patients)) - np.repeat(first, sizes)
    sizes_of_each = np.empty(len(patients), np.int64)
    sizes_of_each[order] = np.repeat(sizes, sizes)
    weights: Floats = np.where(rank < most, 1.0 / np.minimum(sizes_of_each, most), 0.0)
    return weights


def prefixes(scores: NDArray[np.float32] | Floats, labels: Ints, patients: Ints, most: int) -> Floats:
    """C h of the positives, then of the negatives, [2 × BINS], exact: a patient more moves it by 1 in L2 at most, since
    every column of C has norm 1 and the patient's weights add up to 1. Of no use but to add noise to."""
    weights = weights_of(patients, most)
    bins = bin_of(np.nan_to_num(np.asarray(scores, np.float64), nan=0.5))
    histograms = [np.bincount(bins[labels == label], weights[labels == label], BINS) for label in (1, 0)]
    mixed: Floats = (np.stack(histograms) @ strategy(BINS).T).reshape(-1)  # [2, BINS] → [2 × BINS]
    return mixed


def noisy_counts(
    scores: NDArray[np.float32] | Floats,
    labels: Ints,
    patients: Ints,
    *,
    sigma: float,
    images_per_patient: int,
    stream: SecureStream,
) -> BinaryCounts:
    """Noisy counts of one site: probabilities [n], labels 0/1 [n], patient index [n]; n may be 0.

    `sigma`: noise multiplier, the deviation of the noise over what one patient changes.
    """
    mechanism = Mechanism(clip=1.0, noise_multiplier=sigma, entries=2 * BINS, honest=1, sites=1)
    exact = prefixes(scores, labels, patients, images_per_patient)
    noisy = release(exact, mechanism, stream) * mechanism.grid
    positives, negatives = noisy.reshape(2, BINS) @ spread(BINS).T
    return BinaryCounts.noisy(positives, negatives, mechanism.deviation * mechanism.grid)
