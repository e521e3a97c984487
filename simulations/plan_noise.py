"""What the noise of one private step leaves of its signal, before anyone trains.

Rules:
1. The noise is the one that hospitals will add, by shared/mechanism.py, with its margins for lost and colluding
   hospitals and for rounding. All `sites` take part and none is lost: no survivor set has more of it.
2. Mode "distributed": one sum over all hospitals, divided by `batch`. Mode "local": every hospital divides its own by
   `batch`, and the mean over n hospitals, of equal weight, has 1 ÷ √n of their noise.
3. The signal is at most the clip times the patients drawn ÷ `batch`; without a guess of patients, the clip.

    >>> study = read_study(Path("docs/studies/skin-private.toml"))
    >>> round(noise_of(study, sites=3, entries=1406, expected=250.0).per_clip, 2)
    0.22
"""

import math
from dataclasses import dataclass

from shared.accounting import noise_multiplier
from shared.clipping import BIT, gradient_clip
from shared.errors import InputError, MisuseError
from shared.mechanism import Mechanism
from shared.noisy_sum import mechanism_of
from shared.study import Study
from shared.update import Codec


@dataclass(frozen=True)
class Noise:
    """Of one step's averaged gradient of `entries` numbers: the noise's standard deviation in each, and its L2 norm.

    `per_clip`: that norm ÷ the longest that the signal can be. `surplus`: the noise ÷ what is promised and counted.
    `share_deviation`: how far off a step sees the share of patients within the clip (adaptive clipping; else None).
    """

    entries: int
    deviation: float
    norm: float
    per_clip: float
    surplus: float
    share_deviation: float | None


def noise_of(study: Study, *, sites: int, entries: int, expected: float | None) -> Noise:
    """The noise on `entries` trained parameters of a private `study`, of which `expected` patients are drawn in a step
    (by each hospital in mode "local"). Raises InputError where 32 bits do not hold a hospital's or everybody's sum,
    MisuseError without privacy."""
    sigma = noise_multiplier(study)
    if sigma is None:
        raise MisuseError("study", expected="privacy", got="none")
    clip, batch, adaptive = study.privacy.clip or 0.0, study.training.batch, study.privacy.clip_quantile is not None
    if study.privacy.mode == "distributed":
        mechanism = mechanism_of(study, clip=clip, cohort=sites, parameters=entries)
        hospitals, hears = math.sqrt(sites), math.sqrt(sites)
    else:
        mechanism = _own(clip, sigma, entries)
        hospitals, hears = 1.0, 1 / math.sqrt(sites)
        _ = Codec.of(study, cohort=sites, parameters=entries, seed=bytes(32)).quantizer  # its bits hold the mean
    total = mechanism.deviation * mechanism.grid
    deviation = total * hears / batch
    signal = (gradient_clip(clip) if adaptive else clip) * (1.0 if expected is None else expected / batch)
    return Noise(
        entries=entries,
        deviation=deviation,
        norm=deviation * math.sqrt(entries),
        per_clip=deviation * math.sqrt(entries) / signal,
        surplus=total * hospitals / (sigma * clip),
        share_deviation=deviation / (BIT * clip) if adaptive else None,
    )


def _own(clip: float, sigma: float, entries: int) -> Mechanism:
    """All the noise by one hospital alone."""
    try:
        return Mechanism(clip=clip, noise_multiplier=sigma, entries=entries, honest=1, sites=1)
    except ValueError as error:
        raise InputError(
            "study.toml: privacy", expected="noise that a sum holds", got=str(error), do="Raise epsilon."
        ) from None
