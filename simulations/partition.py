"""One data set as several hospitals that differ: patients shared out so that findings are more common here than there.

Guarantees: every patient is at exactly one site; every site holds at least `least`; the same labels, numbers and seed
give the same sites. Label skew by a Dirichlet draw for each label (Yurochkin et al. 2019, arXiv 1905.12022, §4; Li et
al. 2022, arXiv 2102.02079, §IV-A): a small `concentration` gives sites that hold nearly one label only, a large one
sites that are alike.

    >>> [rows.tolist() for rows in dirichlet(np.array([0, 0, 0, 1, 1, 1]), sites=2, concentration=100.0, seed=0)]
    [[0, 2, 3], [1, 4, 5]]
"""

import numpy as np
from numpy.typing import NDArray

from shared.errors import InputError

#: Draws before the wish is called impossible.
MOST_DRAWS = 1000


def dirichlet(
    labels: NDArray[np.integer], *, sites: int, concentration: float, seed: int, least: int = 1
) -> tuple[NDArray[np.int64], ...]:
    """The patients of each of `sites`, as ascending indices into `labels` [patients], one label per patient.

    The shares in which a label's patients go to the sites are Dirichlet(`concentration`, …, `concentration`), drawn
    anew for all labels until no site holds fewer than `least`. Raises InputError for numbers that allow no partition,
    or if `MOST_DRAWS` draws gave none.
    """
    if sites < 1 or least < 0 or not concentration > 0:
        given = f"{sites}, {least} and {concentration:g}"
        raise InputError("partition", expected="sites ≥ 1, least ≥ 0 and a concentration above 0", got=given)
    if labels.ndim != 1 or len(labels) < sites * least:
        raise InputError("partition", expected=f"labels of {sites * least} patients or more", got=f"{labels.shape}")
    generator = np.random.default_rng(seed)
    for _ in range(MOST_DRAWS):
        owner = _owners(labels, sites, concentration, generator)
        if np.bincount(owner, minlength=sites).min() >= least:
            return tuple(np.flatnonzero(owner == site) for site in range(sites))
    raise InputError(
        "partition",
        expected=f"a draw with {least} patients at every one of {sites} sites",
        got=f"none in {MOST_DRAWS}",
        do="Take fewer sites, a larger concentration or a smaller least.",
    )


def _owners(
    labels: NDArray[np.integer], sites: int, concentration: float, generator: np.random.Generator
) -> NDArray[np.int64]:
    """The site of each patient, [patients]."""
    owner = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        shares = generator.dirichlet(np.full(sites, concentration))
        ends = np.round(np.cumsum(shares) * len(rows)).astype(np.int64)[:-1]
        for site, part in enumerate(np.split(rows, ends)):
            owner[part] = site
    return owner
