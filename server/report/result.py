"""`result.json`: what a run says of itself, in records that only ever grow.

Guarantees: every hospital expected is named, with what it contributed per round and why it was left out;
figures that do not exist are null, never 0; the HTML report is made from this record and nothing else.
"""

import math
from pathlib import Path
from typing import Literal

import msgspec

from shared.files import write_atomically
from shared.metrics import BinaryCounts, bin_edges
from shared.study import Study
from shared.wire import Record, read_json

#: What a run is for: a model, or only to know what hospitals hold.
Purpose = Literal["model", "survey"]


class StudyId(Record, frozen=True):
    """Which study: its name, its hash in hex, and the whole of it."""

    name: str
    hash: str
    text: Study


class LeftOut(Record, frozen=True):
    """One hospital missing from one step of one round, and why."""

    site: str
    round: int
    step: str
    reason: str


class RoundRow(Record, frozen=True):
    """One round: who trained, who answered the evaluation, what it cost, how good the model was."""

    round: int
    attempt: int
    trained: tuple[str, ...]
    evaluated: tuple[str, ...]
    seconds: float
    slowest_site_s: float
    bytes_down: int
    bytes_up: int
    #: hospitals whose update was longer than aggregation.update_norm and was scaled down
    scaled_down: int
    validation_auc: float | None
    validation_ece: float | None


class Images(Record, frozen=True):
    """Images over all hospitals, as masked sums; `per_site` only where a hospital's policy shows its own."""

    used: int
    #: by split: train, validation, test
    splits: dict[str, int]
    skipped: dict[str, int]
    per_site: dict[str, dict[str, int]]


class SurveyFigures(Record, frozen=True):
    """What the masked survey said of the training images of all hospitals together, before any training.

    `intensities`: share of the tensors' values in each of equal bins from 0 to 1, every image weighing the same, then
    their mean and standard deviation, each off by less than a bin; () and None where every bin was hidden. Hospitals
    send counts that rest on few patients as 0: `hidden_` says how many labels and bins, over all hospitals.
    """

    labels: dict[str, int]
    hidden_labels: int
    class_weights: dict[str, float]
    intensities: tuple[float, ...]
    hidden_bins: int
    mean: float | None
    deviation: float | None


class Sites(Record, frozen=True):
    """Promise 4: no silent subset."""

    expected: tuple[str, ...]
    #: hospitals that contributed to training, per round
    contributed: tuple[tuple[str, ...], ...]
    left_out: tuple[LeftOut, ...]
    images: Images


class Rounds(Record, frozen=True):
    """Time in seconds and bytes, of all rounds together and of each."""

    count: int
    best: int
    seconds: float
    slowest_site_s: float
    overhead_s: float
    bytes_down: int
    bytes_up: int
    each: tuple[RoundRow, ...]


class SiteAuc(Record, frozen=True):
    """One hospital's own figure: only where its policy allows, or its own model in a baseline."""

    auc: float | None
    n: int
    positives: int
    low: float | None
    high: float | None


class OperatingPoint(Record, frozen=True):
    """The threshold chosen on the validation patients, and what it does to the test patients."""

    threshold: float
    target_sensitivity: float
    sensitivity: float | None
    specificity: float | None
    true_positive: int
    false_negative: int
    true_negative: int
    false_positive: int


class CalibrationRow(Record, frozen=True):
    """One tenth of the score range."""

    count: int
    mean_score: float | None
    positive_share: float | None


class Metrics(Record, frozen=True):
    """Held-out patients of all hospitals. `stratified_auc`: pairs compared within a site only."""

    stratified_auc: float | None
    stratified_low: float | None
    stratified_high: float | None
    mean_site_auc: float | None
    pooled_auc: float | None
    n: int
    positives: int
    sites: dict[str, SiteAuc]
    operating_point: OperatingPoint | None
    calibration_error: float | None
    calibration: tuple[CalibrationRow, ...]
    roc_fpr: tuple[float, ...]
    roc_tpr: tuple[float, ...]


class Baseline(Record, frozen=True):
    """The same steps without the federation, judged on the same held-out patients of all hospitals."""

    stratified_auc: float | None
    low: float | None
    high: float | None
    pooled_auc: float | None
    #: AUC on each hospital's held-out patients
    sites: dict[str, SiteAuc]


class Baselines(Record, frozen=True):
    """Each hospital alone, and all images in one place; with the study's privacy settings."""

    alone: dict[str, Baseline]
    pooled: Baseline | None


class SitePrivacy(Record, frozen=True):
    """What one hospital's patients spent, as its ledger says. ε by RDP; `epsilon_tight` the same run by PRV."""

    mode: Literal["off", "local"]
    unit: Literal["patient"]
    epsilon_run: float | None
    epsilon_tight: float | None
    epsilon_total: float | None
    delta: float | None
    noise_multiplier: float | None


class AggregationFacts(Record, frozen=True):
    """How sums were formed."""

    adversary: str
    threshold: int
    colluders: int
    cohort: int
    vector_length: int
    bits: int
    update_norm: float


class Result(Record, frozen=True):
    """The whole of result.json."""

    status: Literal["finished", "stopped", "failed"]
    #: why a run stopped before its last round, in one sentence; empty when it did not
    because: str
    run: str
    study: StudyId
    sites: Sites
    rounds: Rounds
    metrics: Metrics | None
    baselines: Baselines | None
    privacy: dict[str, SitePrivacy]
    aggregation: AggregationFacts | None
    versions: dict[str, str]
    survey: SurveyFigures | None = None
    purpose: Purpose = "model"


def figure(value: float) -> float | None:
    """A figure, or None where there is none (nan)."""
    return None if math.isnan(value) else float(value)


def operating_point(validation: BinaryCounts, test: BinaryCounts, sensitivity: float) -> OperatingPoint:
    """Threshold from the validation counts, its effect on the test counts."""
    threshold = validation.threshold_for(sensitivity)
    table = test.confusion(threshold)
    return OperatingPoint(
        threshold=float(bin_edges()[threshold]),
        target_sensitivity=sensitivity,
        sensitivity=figure(table.sensitivity),
        specificity=figure(table.specificity),
        **table._asdict(),
    )


def metrics_of(validation: BinaryCounts, test: BinaryCounts, sensitivity: float, sites: dict[str, SiteAuc]) -> Metrics:
    """All figures of the held-out patients from summed counts."""
    low, high = test.stratified_interval
    fpr, tpr = test.roc()
    return Metrics(
        stratified_auc=figure(test.stratified_auc),
        stratified_low=figure(low),
        stratified_high=figure(high),
        mean_site_auc=figure(test.mean_site_auc),
        pooled_auc=figure(test.pooled_auc),
        n=test.images,
        positives=int(test.positives.sum()),
        sites=sites,
        operating_point=operating_point(validation, test, sensitivity),
        calibration_error=figure(test.calibration_error),
        calibration=tuple(
            CalibrationRow(count=b.images, mean_score=figure(b.mean_score), positive_share=figure(b.positive_share))
            for b in test.calibration()
        ),
        roc_fpr=tuple(float(x) for x in fpr),
        roc_tpr=tuple(float(x) for x in tpr),
    )


def write_result(result: Result, folder: Path) -> Path:
    """`folder`/result.json, whole or not at all."""
    path = folder / "result.json"
    write_atomically(path, msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    return path


def read_result(path: Path) -> Result:
    """A result.json as a record. Raises OSError, or msgspec.DecodeError for a damaged one."""
    return read_json(path.read_bytes(), Result)
