"""The masked vectors: what each word of a step's vector means. Both sides agree by calling the same functions.

Every vector starts with counts, each a 64-bit integer in several limbs, so that sums cannot wrap. The first count is 1
and must sum to the number of survivors: a cheap check that unmasking worked. A training vector holds
[1, scaled down 0/1, clamped entries, weight, weight × update]; the others hold counts only. Sums of n vectors are read
with the same functions. Words are uint32, or uint16 where the study sends 16 bits of a parameter or less.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.errors import OperatorError
from shared.messages import STEP_OF, AnyTask, EvaluateTask, TrainTask
from shared.metrics import BinaryCounts
from shared.quantize import Quantizer, decode_counts, encode_counts, limbs
from shared.reasons import Reason
from shared.rotation import Rotation, entry_bound, padded_length
from shared.secagg.masks import Fill, Words, filled
from shared.secagg.plan import Terms, threshold_for
from shared.study import Study
from shared.wire import pack

#: Counts of a training vector before its update.
TRAIN_COUNTS = 4


class Plain(NamedTuple):
    """A vector that is still to be masked: `length` words, written piece by piece by `fill`."""

    length: int
    fill: Fill


@dataclass(frozen=True)
class Update:
    """A training vector, of one site or summed. `weight` in images (or public shares, with privacy); `clamped` entries
    were out of range after the rotation; `mean` float32 [d] is Σ weight × update ÷ Σ weight."""

    sites: int
    scaled_down: int
    clamped: int
    weight: int
    mean: NDArray[np.float32]


@dataclass(frozen=True)
class Codec:
    """Updates ↔ words, for one training step over `cohort` sites.

    Whole (32 bits): each entry is at most the update's norm, and no sum can wrap. Below, the update is rotated by a
    public rotation first, which spreads it evenly; an entry beyond `entry_bound` (a chance of about 1e-9) is clamped.
    `seed`: 32 public bytes, the plan's payload, so that each round rotates anew.
    """

    norm: float
    bits: int
    cohort: int
    parameters: int
    seed: bytes

    @classmethod
    def of(cls, study: Study, *, cohort: int, parameters: int, seed: bytes) -> "Codec":
        """The codec of `study`."""
        return cls(study.aggregation.update_norm, study.aggregation.bits, cohort, parameters, seed)

    @cached_property
    def rotation(self) -> Rotation | None:
        """The rotation, where there is one."""
        return Rotation(self.seed, self.parameters) if self.bits < 32 else None

    @cached_property
    def quantizer(self) -> Quantizer:
        """The quantiser: part of the plan."""
        bound = self.norm if self.bits == 32 else entry_bound(self.norm, self.parameters)
        return Quantizer(bound=bound, sites=self.cohort, bits=self.bits)

    @property
    def header(self) -> int:
        """Words before the update."""
        return TRAIN_COUNTS * limbs(self.bits)

    @property
    def length(self) -> int:
        """Words in all."""
        return self.header + (self.parameters if self.bits == 32 else padded_length(self.parameters))

    def write(self, update: NDArray[np.float32], weight: int, most: int, *, scaled: bool) -> Plain:
        """One site's training vector; `weight` ≤ `most` images."""
        if self.rotation is not None:
            update = self.rotation.forward(update)
        share = weight / most
        clamped = 0 if self.rotation is None else _beyond(update, self.quantizer.bound)
        counts = encode_counts([1, int(scaled), clamped, weight], self.bits)
        encode, header = self.quantizer.encoder(update, share), counts.size

        def fill(start: int, piece: Words) -> None:
            if start < header:
                head = counts[start : start + piece.size]
                piece[: head.size] = head
                start, piece = header, piece[head.size :]
            if piece.size:
                encode(start - header, piece)

        return Plain(self.length, fill)

    def read(self, total: Words, survivors: int, most: int) -> Update:
        """The weighted mean update in the unmasked sum `total`."""
        sites, scaled, clamped, weight = decode_counts(total[: self.header], self.bits)
        _check_sites(sites, survivors)
        if not 0 < weight <= survivors * most:
            raise OperatorError(
                "unmasked sum",
                expected=f"a weight from 1 to {survivors * most}",
                got=str(weight),
                do="Discard the round: a site sent a weight over the study's maximum.",
            )
        mean = self.quantizer.decode(total[self.header :])
        if self.rotation is not None:
            mean = self.rotation.inverse(mean)
        mean *= np.float32(most / weight)
        return Update(sites, scaled, clamped, weight, mean)


def _beyond(update: NDArray[np.float32], bound: float) -> int:
    """How many entries lie outside ±bound."""
    if update.max() <= bound and update.min() >= -bound:
        return 0
    return int(np.count_nonzero(update > bound) + np.count_nonzero(update < -bound))


def count_length(integers: int) -> int:
    """Words of a counting vector of so many integers."""
    return limbs(32) * (1 + integers)


def count_vector(values: list[int]) -> Plain:
    """One site's counting vector, uint32 whatever the study's bits: it is short."""
    words = encode_counts([1, *values])
    return Plain(words.size, filled(words))


def read_counts(total: Words, survivors: int) -> list[int]:
    """The summed integers in the unmasked sum `total`."""
    sites, *values = decode_counts(total)
    _check_sites(sites, survivors)
    return values


def _check_sites(sites: int, survivors: int) -> None:
    if sites != survivors:
        raise OperatorError(
            "unmasked sum",
            expected=f"{survivors} sites in its first slot",
            got=str(sites),
            do="A site masked for another plan or sent a malformed vector; the round is discarded.",
        )


#: Words of the vector of one evaluation, and of the survey.
EVALUATE_LENGTH = count_length(BinaryCounts.LENGTH)
SPLITS = ("train", "validation", "test")
SURVEY_LENGTH = count_length(len(SPLITS) + 2 + len(Reason))


@dataclass(frozen=True)
class Survey:
    """What hospitals hold, of one site or summed: images by split, training images by label, files left out."""

    splits: tuple[int, ...]
    labels: tuple[int, ...]
    skipped: Mapping[Reason, int]


def survey_vector(survey: Survey) -> Plain:
    """One site's survey as a counting vector."""
    skipped = [survey.skipped.get(reason, 0) for reason in Reason]
    return count_vector([*survey.splits, *survey.labels, *skipped])


def read_survey(total: Words, survivors: int) -> Survey:
    """The summed survey."""
    values = read_counts(total, survivors)
    skipped = dict(zip(Reason, values[len(SPLITS) + 2 :], strict=True))
    return Survey(tuple(values[:3]), tuple(values[3:5]), skipped)


def terms(study: Study, task: AnyTask, payload: bytes, *, cohort: int, parameters: int) -> Terms:
    """What a plan must say for `task`, whose packed bytes have the digest `payload`, over a cohort of so many sites."""
    aggregation = study.aggregation
    quantizer, length = b"", EVALUATE_LENGTH if isinstance(task, EvaluateTask) else SURVEY_LENGTH
    if isinstance(task, TrainTask):
        codec = Codec.of(study, cohort=cohort, parameters=parameters, seed=payload)
        quantizer, length = pack(codec.quantizer), codec.length
    return Terms(
        step=STEP_OF[type(task)],
        payload=payload,
        threshold=threshold_for(cohort, aggregation.threshold, aggregation.colluders),
        colluders=aggregation.colluders,
        adversary=aggregation.adversary,
        quantizer=quantizer,
        length=length,
        bits=aggregation.bits if isinstance(task, TrainTask) else 32,
    )
