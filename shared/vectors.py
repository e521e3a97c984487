"""What is summed masked: what each count and word of a step means. Both sides agree by calling the same functions.

Counts are whole numbers of magnitude below 2^47, two's complement, so that sums of 64 bits cannot wrap; only noise
makes one negative. The first is 1 and must sum to the number of survivors: a cheap check that unmasking worked.
Training has the counts [1, scaled down 0/1, clamped entries, weight, spread, work] and the words weight × update,
uint32, or uint16 where the study sends 16 bits of a parameter or less; with privacy of mode "distributed" the count [1]
and the words of a noisy sum (shared/mechanism.py); the other steps have counts only. Sums are read with the same
functions. A vector is as long as what moves of the model, or several times that: an algorithm's vectors lie one after
the other, the update first (shared/algorithms). `spread` is weight × the squared length of the update, in units; 0 with
privacy, whose noise is most of that length. `work` is weight × local steps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shared.accounting import noise_multiplier
from shared.algorithms.registry import algorithm_of
from shared.errors import InputError, MisuseError, OperatorError, PeerError, unlikely
from shared.evaluated import evaluated_length
from shared.mechanism import Mechanism
from shared.messages import STEP_OF, AnyTask, EvaluateTask, TrainTask
from shared.quantize import Quantizer
from shared.reasons import Reason
from shared.rotation import Rotation, entry_bound, padded_length
from shared.secagg.collector import Total
from shared.secagg.masks import Counts, Words, filled
from shared.secagg.member import Plain
from shared.secagg.plan import Terms, threshold_for
from shared.study import Study
from shared.wire import pack

#: Counts of a training step: sites, scaled down, clamped, weight, spread, work.
TRAIN_COUNTS = 6
#: What `spread` of all images whose hospitals' updates are as long as allowed stays below: a count holds it.
SPREAD_UNITS = 1 << 46
#: A count is of a magnitude below this: sums over 65,536 sites stay within 64 bits, the sign's included.
MOST = 1 << 47


def encode_counts(values: Sequence[int]) -> Counts:
    """`values` of magnitude below 2^47 as uint64, mod 2^64."""
    for value in values:
        if not -MOST < value < MOST:
            raise MisuseError("count", expected="a whole number of magnitude below 2^47", got="one beyond")
    return np.array(values, "<i8").view("<u8")


def decode_counts(counts: Counts) -> list[int]:
    """The whole numbers that a sum of encoded counts stands for."""
    return [int(value) for value in counts.astype("<u8", copy=False).view("<i8")]


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
        _check_sites(sites, survivors)
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
    _check_sites(decode_counts(total.counts)[0], survivors)
    return mechanism.decode(total.words)


def count_plain(values: list[int]) -> Plain:
    """One site's counting step."""
    return Plain(encode_counts([1, *values]), _nothing)


def _nothing(_start: int, _piece: Words) -> None:
    """The fill of a step without a vector."""


def read_counts(total: Total, survivors: int) -> list[int]:
    """The summed integers in the unmasked sum `total`."""
    sites, *values = decode_counts(total.counts)
    _check_sites(sites, survivors)
    return values


def _check_sites(sites: int, survivors: int) -> None:
    if sites != survivors:
        raise OperatorError(
            "unmasked sum",
            expected=f"{survivors} sites in its first count",
            got=str(sites),
            do="A site masked for another plan or sent a malformed vector; the round is discarded.",
        )


SPLITS = ("train", "validation", "test")
#: Bins of the intensity histogram: bin k holds the tensor's values from k / 64 on, the last one 1 too.
INTENSITY_BINS = 64
#: What one image puts into the histogram in all, whatever its size: the same for every image of every hospital.
IMAGE_UNITS = 1 << 16
#: Counts of a survey beside those of the labels.
SURVEY_COUNTS = 1 + len(SPLITS) + 2 + INTENSITY_BINS + len(Reason)


@dataclass(frozen=True)
class Survey:
    """What hospitals hold, of one site or summed: images by split, training images by label, files left out.

    `intensities`: how the values of the training images' tensors are spread, IMAGE_UNITS an image. Counts of labels and
    of bins that come from few patients are 0 (client/survey.py); `hidden_labels` and `hidden_bins` say how many are.
    """

    splits: tuple[int, ...]
    labels: tuple[int, ...]
    skipped: Mapping[Reason, int]
    hidden_labels: int = 0
    hidden_bins: int = 0
    intensities: tuple[int, ...] = (0,) * INTENSITY_BINS


def survey_plain(survey: Survey) -> Plain:
    """One site's survey. Reasons stand last: their list grows."""
    hidden = survey.hidden_labels, survey.hidden_bins
    skipped = [survey.skipped.get(reason, 0) for reason in Reason]
    return count_plain([*survey.splits, *survey.labels, *hidden, *survey.intensities, *skipped])


def read_survey(total: Total, survivors: int, labels: int) -> Survey:
    """The summed survey of a study with so many labels."""
    values = iter(read_counts(total, survivors))
    return Survey(
        splits=tuple(islice(values, len(SPLITS))),
        labels=tuple(islice(values, labels)),
        hidden_labels=next(values),
        hidden_bins=next(values),
        intensities=tuple(islice(values, INTENSITY_BINS)),
        skipped=dict(zip(Reason, values, strict=True)),
    )


def _adversary(study: Study, task: AnyTask) -> Literal["active", "semi-honest", "none"]:
    """Without masks travel updates alone: what is counted of patients is summed under the stronger ones."""
    asked = study.aggregation.adversary
    return "active" if asked == "none" and not isinstance(task, TrainTask) else asked


def terms(study: Study, task: AnyTask, payload: bytes, *, cohort: int, parameters: int) -> Terms:
    """What a plan must say for `task`, whose packed bytes have the digest `payload`, over a cohort of so many sites."""
    aggregation = study.aggregation
    quantizer, length = b"", 0
    counts = SURVEY_COUNTS + len(study.task.labels)
    if isinstance(task, EvaluateTask):
        counts = 1 + evaluated_length(study)
    if isinstance(task, TrainTask) and study.privacy.mode == "distributed":
        mechanism = mechanism_of(study, clip=task.clip or 0.0, cohort=cohort, parameters=parameters)
        quantizer, counts, length = pack(mechanism), 1, mechanism.entries
    elif isinstance(task, TrainTask):
        codec = Codec.of(study, cohort=cohort, parameters=parameters, seed=payload)
        quantizer, counts, length = pack(codec.quantizer), TRAIN_COUNTS, codec.length
    return Terms(
        step=STEP_OF[type(task)],
        payload=payload,
        threshold=threshold_for(cohort, aggregation.threshold, aggregation.colluders),
        colluders=aggregation.colluders,
        adversary=_adversary(study, task),
        quantizer=quantizer,
        counts=counts,
        length=length,
        bits=aggregation.bits if isinstance(task, TrainTask) else 32,
    )
