"""A training step as counts and words: written by one site, read from the sum of all.

The counts are [1, scaled down 0/1, clamped entries, weight, spread, work] and the words weight × update, uint32, or
uint16 where the study sends 16 bits of a parameter or less. A vector is as long as what moves of the model, or several
times that: an algorithm's vectors lie one after the other, the update first (shared/algorithms). `spread` is weight ×
the squared length of the update, in units; 0 with privacy, whose noise is most of that length. `work` is weight × local
steps. With privacy of mode "distributed" a step is another one (shared/noisy_sum.py).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from shared.algorithms.registry import algorithm_of
from shared.counts import check_sites, decode_counts, encode_counts
from shared.errors import InputError, OperatorError, PeerError, unlikely
from shared.quantize import Quantizer
from shared.rotation import Rotation, entry_bound, padded_length
from shared.secagg.collector import Total
from shared.secagg.member import Plain
from shared.study import Study

#: Counts of a training step: sites, scaled down, clamped, weight, spread, work.
TRAIN_COUNTS = 6
#: What `spread` of all images whose hospitals' updates are as long as allowed stays below: a count holds it.
SPREAD_UNITS = 1 << 46


@dataclass(frozen=True)
class Update:
    """A training step, of one site or summed. `weight` in images (or public shares, with privacy); `clamped` entries
    were out of range after the rotation; `mean` float32 [vectors × d] is Σ weight × update ÷ Σ weight; `square` that
    mean of the squared lengths of updates, without other vectors, None with privacy; `steps` that mean of the local
    steps."""

    sites: int
    scaled_down: int
    clamped: int
    weight: int
    mean: NDArray[np.float32]
    square: float | None = None
    steps: float = 0.0


@dataclass(frozen=True)
class Codec:
    """Updates ↔ counts and words, for one training step over `cohort` sites.

    Whole (32 bits): each entry is at most the update's norm, and no sum can wrap. Below, the update is rotated by a
    public rotation first, which spreads it evenly; an entry beyond `entry_bound` (a chance of about 1e-9) is clamped.
    `seed`: 32 public bytes, the plan's payload, so that each round rotates anew. `parameters` entries are those of
    `vectors` vectors of equal length, none longer than `norm`. `spreads`: how long updates are is counted.
    """

    norm: float
    bits: int
    cohort: int
    parameters: int
    seed: bytes
    vectors: int = 1
    spreads: bool = True

    @classmethod
    def of(cls, study: Study, *, cohort: int, parameters: int, seed: bytes) -> "Codec":
        """The codec of `study`, of whose model `parameters` move. Raises InputError for what its algorithm cannot."""
        vectors, aggregation = algorithm_of(study).up, study.aggregation
        return cls(
            norm=aggregation.update_norm,
            bits=aggregation.bits,
            cohort=cohort,
            parameters=vectors * parameters,
            seed=seed,
            vectors=vectors,
            spreads=study.privacy.mode == "off",
        )

    @cached_property
    def rotation(self) -> Rotation | None:
        """The rotation, where there is one."""
        return Rotation(self.seed, self.parameters) if self.bits < 32 else None

    @cached_property
    def quantizer(self) -> Quantizer:
        """The quantiser: part of the plan."""
        bound = self.norm if self.bits == 32 else entry_bound(self.norm, self.parameters)
        try:
            return Quantizer(bound=bound, sites=self.cohort, bits=self.bits)
        except ValueError as error:
            raise InputError(
                "aggregation.bits", expected=f"enough for {self.cohort} hospitals", got=str(error), do="Raise it."
            ) from None

    @property
    def length(self) -> int:
        """Words of the vector."""
        return self.parameters if self.bits == 32 else padded_length(self.parameters)

    def write(self, update: NDArray[np.float32], weight: int, most: int, *, scaled: bool, steps: int = 1) -> Plain:
        """One site's training step of so many local `steps`; `weight` ≤ `most` images."""
        spread = self._spread(update, weight, most) if self.spreads else 0
        if self.rotation is not None:
            update = self.rotation.forward(update)
        clamped = 0 if self.rotation is None else _beyond(update, self.quantizer.bound)
        counts = encode_counts([1, int(scaled), clamped, weight, spread, weight * steps])
        return Plain(counts, self.quantizer.encoder(update, weight / most))

    def _spread(self, update: NDArray[np.float32], weight: int, most: int) -> int:
        first = update[: self.parameters // self.vectors].astype(np.float64)
        return int(min(1.0, float(np.sum(first * first)) / self.norm**2) * weight * _unit(most))

    def read(self, total: Total, survivors: int, most: int) -> Update:
        """The weighted mean update in the unmasked sum `total`."""
        sites, scaled, clamped, weight, spread, work = decode_counts(total.counts)
        check_sites(sites, survivors)
        if not 0 < weight <= survivors * most:
            raise OperatorError(
                "unmasked sum",
                expected=f"a weight from 1 to {survivors * most}",
                got=str(weight),
                do="Discard the round: a site sent a weight over the study's maximum.",
            )
        unit = _unit(most)
        if not (0 <= spread <= weight * unit and work >= 0):
            raise unlikely(f"a spread from 0 to {weight * unit}, and work from 0", f"{spread}, {work}")
        mean = self.quantizer.decode(total.words)
        if self.rotation is not None:
            mean = self.rotation.inverse(mean)
        mean *= np.float32(most / weight)
        square = spread / (weight * unit) * self.norm**2 if self.spreads else None
        return Update(sites, scaled, clamped, weight, mean, square, work / weight)


def check_one(part: Total, most: int, site: str) -> None:
    """Raise PeerError unless `part` holds counts that one hospital's training step can have: of itself alone, its
    weight from 1 to `most`, the others no larger than that weight allows."""
    sites, scaled, clamped, weight, spread, work = decode_counts(part.counts)
    flags = sites == 1 and scaled in (0, 1) and clamped >= 0
    if not (flags and 0 < weight <= most and 0 <= spread <= weight * _unit(most) and work >= 0):
        raise PeerError(f"counts of {site}", expected=f"those of one hospital of 1 to {most} images", got="others")


def _unit(most: int) -> int:
    """What one image adds to `spread` whose hospital's update is as long as allowed."""
    return max(1, SPREAD_UNITS // most)


def _beyond(update: NDArray[np.float32], bound: float) -> int:
    """How many entries lie outside ±bound."""
    if update.max() <= bound and update.min() >= -bound:
        return 0
    return int(np.count_nonzero(update > bound) + np.count_nonzero(update < -bound))
