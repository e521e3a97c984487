"""A training step of mode "distributed": the count [1], and the words of a sum that is noisy once it is whole.

Both ends derive the mechanism (shared/mechanism.py has its proof) from the study and the plan's cohort, so that nobody
can talk a hospital into less noise.
"""

import numpy as np
from numpy.typing import NDArray

from shared.accounting import noise_multiplier
from shared.counts import check_sites, decode_counts, encode_counts
from shared.errors import InputError, MisuseError
from shared.mechanism import Mechanism
from shared.secagg.collector import Total
from shared.secagg.masks import Words, filled
from shared.secagg.member import Plain
from shared.secagg.plan import threshold_for
from shared.study import Study


def honest_of(study: Study, cohort: int) -> int:
    """How many hospitals' noise a round over `cohort` of them rests on: t − c shares, or each hospital's own alone."""
    if study.privacy.mode != "distributed":
        return 1
    aggregation = study.aggregation
    return threshold_for(cohort, aggregation.threshold, aggregation.colluders) - aggregation.colluders


def mechanism_of(study: Study, *, clip: float, cohort: int, parameters: int) -> Mechanism:
    """The mechanism of one step of a study of mode "distributed", over `cohort` hospitals. Raises InputError where 32
    bits do not hold its sums."""
    sigma = noise_multiplier(study)
    if sigma is None:
        raise MisuseError("study", expected="privacy", got="none")
    try:
        return Mechanism(
            clip=clip,
            noise_multiplier=sigma,
            entries=parameters + (study.privacy.clip_quantile is not None),
            honest=honest_of(study, cohort),
            sites=cohort,
        )
    except ValueError as error:
        raise InputError(
            "study.toml: privacy", expected="noise that a sum holds", got=str(error), do="Raise epsilon."
        ) from None


def sum_plain(words: Words) -> Plain:
    """One site's step of mode "distributed": its noisy integers mod 2^32."""
    return Plain(encode_counts([1]), filled(words))


def read_sum(total: Total, survivors: int, mechanism: Mechanism) -> NDArray[np.float64]:
    """The noisy sum of clipped vectors, float64 [entries], in the unmasked sum `total`."""
    check_sites(decode_counts(total.counts)[0], survivors)
    return mechanism.decode(total.words)
