"""The survey of one hospital: what enters the masked sum before any training, and what is too small to.

Guarantees: a count of a label, or of a bin of the histogram, that rests on fewer than `smallest` patients is 0, never
alone, and how many were so hidden is said; the histogram weighs every training image the same, whatever its size. Pure
but for reading the images.

Neighbouring relation, for what is not hidden: one patient more changes a label's count by that patient's images, a bin
by at most IMAGE_UNITS for each of them; no noise is added. What is never hidden: images by split and files left out by
reason, which promise 4 of DESIGN.md needs (no silent subset). All but one of the hospitals together can subtract their
own counts from a sum: hiding is for such as they, and for whoever reads the report.

The bias: a hospital with few patients of one label is missing from the sum of both, so class weights are those of the
others, equal ones if nobody is left; a brightness that few patients of every hospital have is missing from the
histogram, so mean and deviation lean to the frequent ones.

Where labels do not exclude each other (findings, structures), no total tells a hidden count: it is hidden alone; but a
label that all patients have but a few is hidden too, since the count tells those few.

    >>> survey_of(images, counts.skipped, 5).labels
    (120, 31)
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from client.images import Images, Split
from shared.reasons import Reason
from shared.survey import IMAGE_UNITS, INTENSITY_BINS, Survey
from shared.tasks.base import Kind

#: Images that are read for the histogram, evenly taken, and values of each: more change no digit that is used.
IMAGES_READ = 4096
VALUES_READ = 1 << 16

Counts = NDArray[np.int64]


def survey_of(images: Images, kind: Kind, skipped: Mapping[Reason, int], smallest: int) -> Survey:
    """The survey of `images`, whose labels `kind` tells; `skipped` are the files left out."""
    rows = images.rows(Split.TRAIN)
    labels = _kept(*_by_label(images, kind, rows), smallest, alone=kind.target != "class")
    bins = _kept(*_by_brightness(images, rows), smallest)
    return Survey(
        splits=tuple(len(images.rows(split)) for split in Split),
        labels=tuple(labels[0].tolist()),
        skipped=skipped,
        hidden_labels=labels[1],
        hidden_bins=bins[1],
        intensities=tuple(bins[0].tolist()),
    )


def _kept(counts: Counts, patients: Counts, smallest: int, *, alone: bool = False) -> tuple[Counts, int]:
    """`counts`, 0 where they rest on fewer than `smallest` patients, and how many of them that hides.

    One hidden alone could be worked out from the total, where that is known: then the smallest other is hidden too,
    unless they may be hidden `alone`.
    """
    hidden = (patients < smallest) & (patients > 0)
    others = np.flatnonzero(~hidden & (counts > 0))
    if not alone and np.count_nonzero(hidden) == 1 and len(others):
        hidden[others[np.argmin(counts[others])]] = True
    return np.where(hidden, 0, counts), int(np.count_nonzero(hidden))


def _by_label(images: Images, kind: Kind, rows: Counts) -> tuple[Counts, Counts]:
    """Images of each label, and patients that its count rests on: those that have it, or, where labels do not exclude
    each other, those that lack it if they are fewer."""
    present, patient = kind.presence(images.target[rows]), images.patient[rows]  # bool [n, labels]
    people = []
    for has in present.T:
        those, others = len(np.unique(patient[has])), len(np.unique(patient[~has]))
        people.append(min(those, others) if others and kind.target != "class" else those)
    return present.sum(axis=0, dtype=np.int64), np.array(people, dtype=np.int64)


def _by_brightness(images: Images, rows: Counts) -> tuple[Counts, Counts]:
    """Units and patients of each bin. Where only every n-th image is read, it stands for n."""
    units = np.zeros(INTENSITY_BINS, dtype=np.int64)
    seen = np.zeros((len(images.keys), INTENSITY_BINS), dtype=np.bool_)
    step = max(1, -(-len(rows) // IMAGES_READ))
    for row in rows[::step]:
        spread = histogram(images.tensors(row[None])[0])
        units += step * spread
        seen[images.patient[row]] |= spread > 0
    return units, np.count_nonzero(seen, axis=0)


def histogram(tensor: NDArray[np.float32]) -> Counts:
    """[64] the shares of `tensor`'s values in [0, 1] by bin, in units of IMAGE_UNITS, each rounded."""
    values = tensor.ravel()
    values = values[:: len(values) // VALUES_READ | 1]  # odd: else the same few columns of every row
    bins = np.minimum((values * INTENSITY_BINS).astype(np.int64), INTENSITY_BINS - 1)
    counts = np.bincount(bins, minlength=INTENSITY_BINS)
    spread: Counts = np.rint(counts * (IMAGE_UNITS / len(values))).astype(np.int64)
    return spread
