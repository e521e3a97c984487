"""`result.json`: what a run says of itself, in records that only ever grow.

Guarantees: every hospital expected is named, with what it contributed per round and why it was left out;
figures that do not exist are null, never 0; the HTML report is made from this record and nothing else.
"""

import math
from pathlib import Path
from typing import Literal

import msgspec

from shared.files import write_atomically
from shared.judged import Figure, Judged, Table
from shared.study import Study
from shared.wire import Record, read_json

#: What a run is for: a model; only to know what hospitals hold; or to try settings, on the validation patients alone.
Purpose = Literal["model", "survey", "search"]


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
    #: the headline figure of the study's kind of task on the validation patients
    validation: float | None = None
    #: how far hospitals' updates lay apart, over the length of their mean (server/strategies/drift.py)
    drift: float | None = None
    #: hospitals of `votes` that found the round harmful on their own patients, and whether it was taken back
    harmful: int = 0
    votes: int = 0
    taken_back: bool = False


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
    #: 95 % intervals, of noisy figures only: exact ones are of images, and do not say whose
    sensitivity_low: float | None = None
    sensitivity_high: float | None = None
    specificity_low: float | None = None
    specificity_high: float | None = None


class CalibrationRow(Record, frozen=True):
    """One tenth of the score range."""

    count: int
    mean_score: float | None
    positive_share: float | None


class NoiseFacts(Record, frozen=True):
    """How noisy the final figures are where hospitals add noise to their counts: deviations by the noise alone.

    `total`: in all positives, and as much in all negatives, in patients: noisy counts are of patients, each weighing 1.
    `stratified_auc`, `calibration_error`: in those figures. `pooled_low`, `pooled_high`: 95 % interval of the pooled
    AUC, noise included, as every interval of the record is.
    """

    total: float
    stratified_auc: float | None
    pooled_low: float | None
    pooled_high: float | None
    calibration_error: float | None


class Metrics(Record, frozen=True):
    """Held-out patients of all hospitals. `stratified_auc`: pairs compared within a site only. `n` and `positives` are
    of images; of patients where there is `noise`."""

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
    noise: NoiseFacts | None = None


class Baseline(Record, frozen=True):
    """The same steps without the federation, judged on the same held-out patients of all hospitals."""

    stratified_auc: float | None
    low: float | None
    high: float | None
    pooled_auc: float | None
    #: AUC on each hospital's held-out patients
    sites: dict[str, SiteAuc]
    #: every figure of the study's kind of task, on all hospitals' held-out patients and on each one's
    judged: Judged | None = None
    each: dict[str, Judged] = msgspec.field(default_factory=dict)


class Baselines(Record, frozen=True):
    """Each hospital alone, and all images in one place; with the study's privacy settings."""

    alone: dict[str, Baseline]
    pooled: Baseline | None
    #: how well the hospital can be told from the image (simulations/shortcut.py)
    shortcut: Table | None = None


class SitePrivacy(Record, frozen=True):
    """What one hospital's patients spent, as its ledger says. ε by RDP; `epsilon_tight` the same run by PRV.

    It rests on the noise of `honest` hospitals, this one among them; `epsilon_alone` is ε of the run if nobody else
    added any (None where that makes no difference). `evaluation`: ε of the run's evaluations for a patient held out, at
    the study's evaluation.delta; None where they carry no noise.
    """

    mode: Literal["off", "local", "distributed"]
    unit: Literal["patient"]
    epsilon_run: float | None
    epsilon_tight: float | None
    epsilon_total: float | None
    delta: float | None
    noise_multiplier: float | None
    honest: int = 1
    epsilon_alone: float | None = None
    evaluation: float | None = None


class SplitPrice(Record, frozen=True):
    """What the evaluations of one split told of each of its patients: how many this record has, σ of each, ε of all."""

    evaluations: int
    noise_multiplier: float
    epsilon: float


class EvaluationPrice(Record, frozen=True):
    """What the study lets evaluations tell of a held-out patient, and what they told, by split (validation, test)."""

    epsilon: float
    delta: float
    splits: dict[str, SplitPrice]


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
    #: None where evaluations carry no noise
    evaluation: EvaluationPrice | None = None
    #: every figure of the study's kind of task on the held-out patients; `metrics` has some of them, of classification
    judged: Judged | None = None
    #: the same by subgroup (shared/subgroups.py), and how many hospitals kept a subgroup of few patients back
    groups: dict[str, Judged] = msgspec.field(default_factory=dict)
    hidden: dict[str, int] = msgspec.field(default_factory=dict)
    #: the hospitals' own models on their own patients, where the study lets them have some
    personal: Judged | None = None
    #: hospitals' own headline figures, where their policy shows them
    own: dict[str, Figure] = msgspec.field(default_factory=dict)


def figure(value: float) -> float | None:
    """A figure, or None where there is none (nan)."""
    return None if math.isnan(value) else float(value)


def write_result(result: Result, folder: Path) -> Path:
    """`folder`/result.json, whole or not at all."""
    path = folder / "result.json"
    write_atomically(path, msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    return path


def read_result(path: Path) -> Result:
    """A result.json as a record. Raises OSError, or msgspec.DecodeError for a damaged one."""
    return read_json(path.read_bytes(), Result)
