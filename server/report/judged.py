"""The figures of held-out patients in the record, from summed counts.

Guarantees: a figure that the counts do not hold is None; noisy counts are shown as none below 0, and figures within
their range, only here at the end.
"""

from msgspec.structs import replace

from server.report.result import CalibrationRow, Metrics, NoiseFacts, OperatingPoint, SiteAuc, figure
from shared.finding import Finding
from shared.judged import Judged
from shared.metrics import BinaryCounts, bin_edges

#: Subgroups of fewer images show no figures.
LEAST_IMAGES = 20


def operating_point(validation: BinaryCounts, test: BinaryCounts, sensitivity: float) -> OperatingPoint | None:
    """Threshold from the validation counts, its effect on the test counts; None where there may be no positives to
    choose it on."""
    threshold = Finding(validation).threshold(sensitivity)
    if threshold is None:
        return None
    found, specificity = test.rates(threshold)
    low, high = test.share_interval(test.positives, threshold)
    most, least = test.share_interval(test.negatives, threshold)
    return OperatingPoint(
        threshold=float(bin_edges()[threshold]),
        target_sensitivity=sensitivity,
        sensitivity=figure(found),
        specificity=figure(specificity),
        **{name: max(0, count) for name, count in test.confusion(threshold)._asdict().items()},
        sensitivity_low=figure(low),
        sensitivity_high=figure(high),
        specificity_low=figure(1 - least),
        specificity_high=figure(1 - most),
    )


def noise_of(counts: BinaryCounts) -> NoiseFacts | None:
    """How noisy the figures of `counts` are; None of exact ones."""
    if not counts.noise.sites:
        return None
    low, high = counts.pooled_interval
    return NoiseFacts(
        total=counts.total_deviation,
        stratified_auc=figure(counts.stratified_deviation),
        pooled_low=figure(low),
        pooled_high=figure(high),
        calibration_error=figure(counts.calibration_deviation),
    )


def shown_group(judged: Judged) -> Judged:
    """A subgroup as it may stand in a record: of fewer than LEAST_IMAGES nothing is said, not even how many."""
    if judged.images >= LEAST_IMAGES:
        return judged
    return Judged(judged.kind, 0, tuple(replace(f, value=None, low=None, high=None) for f in judged.figures))


def metrics_without_finding(judged: Judged, sites: dict[str, SiteAuc]) -> Metrics:
    """Of several classes without a finding: the mean of their areas, and no operating point."""
    head = judged.headline
    return Metrics(
        stratified_auc=head.value,
        stratified_low=head.low,
        stratified_high=head.high,
        mean_site_auc=None,
        pooled_auc=None,
        n=judged.images,
        positives=0,
        sites=sites,
        operating_point=None,
        calibration_error=None,
        calibration=(),
        roc_fpr=(),
        roc_tpr=(),
    )


def metrics_of(validation: BinaryCounts, test: BinaryCounts, sensitivity: float, sites: dict[str, SiteAuc]) -> Metrics:
    """All figures of the held-out patients from summed counts."""
    low, high = test.stratified_interval
    fpr, tpr = test.roc()
    images, positives = test.shown
    return Metrics(
        stratified_auc=figure(test.stratified_auc),
        stratified_low=figure(low),
        stratified_high=figure(high),
        mean_site_auc=figure(test.mean_site_auc),
        pooled_auc=figure(test.pooled_auc),
        n=images,
        positives=positives,
        sites=sites,
        operating_point=operating_point(validation, test, sensitivity),
        calibration_error=figure(test.calibration_error),
        calibration=tuple(
            CalibrationRow(
                count=max(0, b.images), mean_score=figure(b.mean_score), positive_share=figure(b.positive_share)
            )
            for b in test.calibration()
        ),
        roc_fpr=tuple(float(x) for x in fpr),
        roc_tpr=tuple(float(x) for x in tpr),
        noise=noise_of(test),
    )
