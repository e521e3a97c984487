"""Figures of a binary classifier that can be summed over hospitals without anyone showing its own.

A site turns its scores into `BinaryCounts`: integers only, so they travel through secure aggregation exactly as they
are; `a + b` of two sites' counts are the counts of both. From the sum come the pooled ROC and AUC, the site-stratified
AUC (pairs compared within a site only), confusion and calibration at any threshold. Exact counts are of images and
never negative. Noisy ones (client/privacy/evaluation.py) are of patients, may be negative, and say in `noise` how noisy
they are: they are summed and subtracted as they are, which keeps figures unbiased; only figures are held within bounds.

    >>> site = BinaryCounts.of(np.array([0.9, 0.2]), np.array([1, 0]), np.array([0, 1]))
    >>> (site + site).stratified_auc
    1.0
"""

from dataclasses import dataclass, field
from math import hypot, nan, sqrt

import numpy as np
from numpy.typing import NDArray

from shared.clusters import pair_figures
from shared.pair_noise import PairNoise, is_known, ratio_interval, share
from shared.prefix_noise import below, deviation_of, total_deviation
from shared.score_bins import BINS, Floats, Ints, bin_centres, bin_edges, bin_of, groups_of, rising, whole
from shared.shares import area_interval
from shared.tables import CalibrationBin, Confusion

__all__ = ["BINS", "BinaryCounts", "CalibrationBin", "Confusion", "bin_centres", "bin_edges", "bin_of"]

#: Fixed point for one site's AUC: 200 sites' sum stays far below 2^64.
AUC_UNIT = 1 << 24
#: A variance × pairs² travels as how many whole units of this it has, and the rest: of a hospital with 100,000 images
#: it does not fit into one count. Beside the sum of all, sums of the two parts tell how often it was carried.
PART = 1 << 32
#: Deviations of noise above which a noisy hospital's patients of either class must be for an AUC of its own.
CERTAIN = 4.0


@dataclass(frozen=True)
class BinaryCounts:
    """Summable counts: histograms [BINS] of the scores of positives and negatives, and pair counts."""

    positives: Ints
    negatives: Ints
    #: 2 × concordant pairs + ties, within sites
    twice_concordant: int
    #: positive–negative pairs within sites
    pairs: int
    #: Σ over sites without noise of var(AUC) × pairs², rounded
    pair_variance: int
    #: sites that hold both classes, and the sum of their AUCs in AUC_UNIT
    sites: int
    auc_sum: int
    noise: PairNoise = field(default_factory=PairNoise)

    #: integers of one site's counts when they travel; without noise, when they were first stored
    LENGTH = 2 * BINS + 5 + len(PairNoise._fields) + 1
    EXACT = 2 * BINS + 5

    @classmethod
    def of(cls, scores: NDArray[np.float32] | Floats, labels: Ints, patients: Ints) -> "BinaryCounts":
        """Counts of one site: probabilities [n], labels 0/1 [n], patient index [n]."""
        bins = bin_of(scores)
        twice, pairs, variance = pair_figures(np.asarray(scores, np.float64), labels, patients)
        return cls(
            positives=np.bincount(bins[labels == 1], minlength=BINS),
            negatives=np.bincount(bins[labels == 0], minlength=BINS),
            twice_concordant=twice,
            pairs=pairs,
            pair_variance=max(1, round(variance * pairs * pairs)) if pairs else 0,
            sites=int(pairs > 0),
            auc_sum=round(AUC_UNIT * twice / (2 * pairs)) if pairs else 0,
        )

    @classmethod
    def noisy(cls, positives: Floats, negatives: Floats, deviation: float) -> "BinaryCounts":
        """Counts of one site from its noisy histograms [BINS] and nothing else: whatever is formed here costs no more.

        `deviation`, in patients, is that of the noise on C h (shared/prefix_noise.py).
        """
        p, n = float(positives.sum()), float(negatives.sum())
        concordant = float(positives @ below(negatives))
        both = min(p, n) > CERTAIN * deviation * total_deviation(BINS)
        return cls(
            positives=whole(positives),
            negatives=whole(negatives),
            twice_concordant=round(2 * concordant),
            pairs=round(p * n),
            pair_variance=0,
            sites=int(both),
            auc_sum=round(AUC_UNIT * min(1.0, max(0.0, concordant / (p * n)))) if both else 0,
            noise=PairNoise.of(positives, negatives, deviation),
        )

    def __add__(self, other: "BinaryCounts") -> "BinaryCounts":
        mine, theirs = self.to_integers(), other.to_integers()
        return BinaryCounts.from_integers([a + b for a, b in zip(mine, theirs, strict=True)])

    def to_integers(self) -> list[int]:
        """`LENGTH` integers of magnitude below 2^47, in a fixed order; none is negative where there is no noise."""
        parts, rest = divmod(self.pair_variance, PART)
        tail = [self.twice_concordant, self.pairs, rest, self.sites, self.auc_sum, *self.noise, parts]
        return [*map(int, self.positives), *map(int, self.negatives), *tail]

    @classmethod
    def from_integers(cls, values: list[int]) -> "BinaryCounts":
        """The inverse of `to_integers`, of one site or of a sum over sites."""
        if len(values) not in (cls.LENGTH, cls.EXACT):
            raise ValueError(f"expected {cls.LENGTH} counts, got {len(values)}")
        histograms = np.array(values[: 2 * BINS], np.int64)
        twice, pairs, rest, sites, auc_sum = values[2 * BINS : cls.EXACT]
        *noise, parts = values[cls.EXACT :] or (0,)
        variance = PART * parts + rest
        return cls(histograms[:BINS], histograms[BINS:], twice, pairs, variance, sites, auc_sum, PairNoise(*noise))

    @property
    def images(self) -> int:
        """Images counted; of a site with noise, patients."""
        return int(self.positives.sum() + self.negatives.sum())

    @property
    def shown(self) -> tuple[int, int]:
        """Images, and positive ones among them, as a person reads them: never negative."""
        images = max(0, self.images)
        return images, min(images, max(0, int(self.positives.sum())))

    @property
    def total_deviation(self) -> float:
        """Standard deviation of the noise in all positives, and as much in all negatives, in patients; 0 without."""
        return self.noise.deviation() * total_deviation(BINS)

    @property
    def stratified_auc(self) -> float:
        """Share of concordant pairs, compared within sites only; nan if no site holds both classes, for all that is
        known."""
        if not self.noise.sites:
            return share(self.twice_concordant, 2 * self.pairs)
        return share(self.twice_concordant / 2, self.pairs, self.noise.moments(BINS)[2])

    @property
    def stratified_interval(self) -> tuple[float, float]:
        """95 % interval of `stratified_auc`, patients as clusters, its noise included."""
        area = self.stratified_auc
        if not self.noise.sites:
            return area_interval(area, sqrt(max(0, self.pair_variance)) / self.pairs if self.pairs else nan)
        if np.isnan(area):
            return 0.0, 1.0
        sampling = self.pair_variance + self.noise.sampling(area)
        return ratio_interval(self.twice_concordant / 2, self.pairs, self.noise.moments(BINS), sampling)

    @property
    def stratified_deviation(self) -> float:
        """Standard deviation of `stratified_auc` by the noise alone; 0 without, nan without a figure."""
        area = self.stratified_auc
        first, both, last = self.noise.moments(BINS)
        return sqrt(max(0.0, first - 2 * area * both + area**2 * last)) / self.pairs if not np.isnan(area) else nan

    @property
    def mean_site_auc(self) -> float:
        """Plain mean of the AUCs of the sites that hold both classes."""
        return share(self.auc_sum / AUC_UNIT, self.sites)

    def roc(self) -> tuple[Floats, Floats]:
        """Pooled ROC: false positive rate and true positive rate, [BINS + 1] each, from (0, 0) to (1, 1)."""
        tpr = np.r_[0, rising(np.cumsum(self.positives[::-1]))] / max(1, int(self.positives.sum()))
        fpr = np.r_[0, rising(np.cumsum(self.negatives[::-1]))] / max(1, int(self.negatives.sum()))
        return fpr, tpr

    @property
    def pooled_auc(self) -> float:
        """Area under the pooled ROC (ties within a bin count half); nan without both classes."""
        if self.noise.sites:
            concordant, pairs, noise = self._pooled()
            return share(concordant, pairs, noise.moments(BINS)[2])
        if not self.positives.sum() or not self.negatives.sum():
            return nan
        fpr, tpr = self.roc()
        return float(np.trapezoid(tpr, fpr))

    @property
    def pooled_interval(self) -> tuple[float, float]:
        """95 % interval of `pooled_auc`, noise included; (nan, nan) of exact counts, which do not say whose images."""
        if not self.noise.sites:
            return nan, nan
        concordant, pairs, noise = self._pooled()
        area = self.pooled_auc
        sampling = 0.0 if np.isnan(area) else noise.sampling(area)
        return ratio_interval(concordant, pairs, noise.moments(BINS), sampling)

    def _pooled(self) -> tuple[float, float, PairNoise]:
        """Concordant pairs, pairs and their noise, of all sites as if they were one."""
        positives, negatives = self.positives.astype(np.float64), self.negatives.astype(np.float64)
        noise = PairNoise.of(positives, negatives, self.noise.deviation())
        return float(positives @ below(negatives)), float(positives.sum() * negatives.sum()), noise

    def threshold_for(self, sensitivity: float) -> int:
        """Highest bin such that calling it and all above positive reaches `sensitivity`; 0 if none does."""
        reached = rising(np.cumsum(self.positives[::-1]))[::-1]
        enough = np.flatnonzero(reached >= sensitivity * max(1, int(self.positives.sum())))
        return int(enough[-1]) if len(enough) else 0

    def confusion(self, threshold: int) -> Confusion:
        """Counts when bins ≥ `threshold` are called positive."""
        return Confusion(
            int(self.positives[threshold:].sum()),
            int(self.positives[:threshold].sum()),
            int(self.negatives[:threshold].sum()),
            int(self.negatives[threshold:].sum()),
        )

    def rates(self, threshold: int) -> tuple[float, float]:
        """(sensitivity, specificity) when bins ≥ `threshold` are called positive; nan where there may be nobody."""
        called, variance = self.confusion(threshold), self.total_deviation**2
        missed, alarmed = called.true_positive + called.false_negative, called.true_negative + called.false_positive
        return share(called.true_positive, missed, variance), share(called.true_negative, alarmed, variance)

    def share_interval(self, called: Ints, threshold: int) -> tuple[float, float]:
        """95 % interval of sensitivity (`called` the positives), or of 1 − specificity (the negatives); (nan, nan) of
        exact counts, which are of images and do not say whose."""
        if not self.noise.sites:
            return nan, nan
        part, all_of_them = float(called[threshold:].sum()), float(called.sum())
        above = (np.arange(BINS) >= threshold).astype(np.float64)
        of_part, of_whole, of_rest = (self._deviation(w) ** 2 for w in (above, np.ones(BINS), 1 - above))
        moments = of_part, (of_part + of_whole - of_rest) / 2, of_whole
        found = share(part, all_of_them, of_whole)
        sampling = 0.0 if np.isnan(found) else all_of_them * found * (1 - found)
        return ratio_interval(part, all_of_them, moments, sampling)

    def _deviation(self, weights: Floats) -> float:
        """Of the noise in Σ weights × positives, weights [BINS], and as much of negatives, in patients."""
        return self.noise.deviation() * deviation_of(weights) if self.noise.sites else 0.0

    def calibration(self, groups: int = 10) -> list[CalibrationBin]:
        """Reliability in `groups` equal parts of [0, 1]; scores are taken as the centre of their bin."""
        centres = bin_centres()
        both = self.positives + self.negatives
        found = []
        for inside in groups_of(groups):
            count, score, positive = (
                float(both @ inside),
                float(both @ (inside * centres)),
                float(self.positives @ inside),
            )
            known = is_known(count, 2 * self._deviation(inside) ** 2)
            shares = (min(1.0, max(0.0, part / count)) if known else nan for part in (score, positive))
            found.append(CalibrationBin(int(count), *shares))
        return found

    @property
    def calibration_error(self) -> float:
        """Expected calibration error over ten groups, weighted by images; less what the noise adds to it."""
        if not is_known(self.images, 2 * self.total_deviation**2):
            return nan
        gaps = self._gaps()
        return sum(sqrt(max(0.0, gap**2 - noise**2)) for gap, noise in gaps) / self.images

    @property
    def calibration_deviation(self) -> float:
        """Standard deviation of `calibration_error` by the noise alone, groups taken as independent; 0 without."""
        if not is_known(self.images, 2 * self.total_deviation**2):
            return nan
        return hypot(*(noise for _, noise in self._gaps())) / self.images

    def _gaps(self, groups: int = 10) -> list[tuple[float, float]]:
        """Per group Σ scores − positives, and the deviation of the noise in it."""
        centres = bin_centres()
        weights = ((inside * centres, inside * (1 - centres)) for inside in groups_of(groups))
        return [
            (float(self.negatives @ false - self.positives @ missed), hypot(*map(self._deviation, (false, missed))))
            for false, missed in weights
        ]
