"""What a hospital computes for each task: a vector of integers to be masked, and the little it may show in the clear.

Pure but for reading the images: no ledger, no keys, no network. The caller has charged the ledger.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from client.dicom.archive import Counts, Progress, prepare
from client.home import Home
from client.images import Images, Split
from client.survey import survey_of
from client.training.evaluate import scores
from client.training.loop import train
from shared.accounting import noise_multiplier
from shared.errors import PeerError, SiteError
from shared.messages import EvaluateTask, OwnFigures, TrainTask
from shared.metrics import BinaryCounts
from shared.network import network_of
from shared.parameters import load_vector, to_vector
from shared.secagg.member import Plain
from shared.study import Study
from shared.vectors import Codec, count_plain, survey_plain


@dataclass(frozen=True)
class Prepared:
    """This hospital's images for one study, and what became of every file."""

    images: Images
    counts: Counts


def prepare_for(home: Home, study: Study, progress: Progress | None = None) -> Prepared:
    """The images of the hospital in `home` for `study`: scanned, joined, decoded, split."""
    images, counts = prepare(
        home.archive,
        home.labels,
        home.path / "archive",
        key=home.archive_key,
        spec=study.input,
        labels=study.task.labels,
        test=study.evaluation.test,
        validation=study.evaluation.validation,
        cache_bytes=None if home.config.cache_gib is None else int(home.config.cache_gib * 2**30),
        progress=progress,
    )
    return Prepared(images, counts)


@dataclass(frozen=True)
class Outcome:
    """A step's result: `plain` is for the mask only; `figures` only if the policy allows."""

    plain: Plain
    figures: OwnFigures | None = None


def survey(prepared: Prepared, smallest: int) -> Outcome:
    """Images by split, training images by label and by brightness, files left out by reason; counts that rest on fewer
    than `smallest` patients as 0."""
    return Outcome(survey_plain(survey_of(prepared.images, prepared.counts.skipped, smallest)))


def train_round(study: Study, task: TrainTask, round_: int, prepared: Prepared, *, codec: Codec, seed: int) -> Outcome:
    """One round of local training, as the quantised update of norm at most `aggregation.update_norm`."""
    module = network_of(study)
    before = _weights(task.weights, module)
    load_vector(module, before)
    train(
        module,
        prepared.images,
        study,
        round=round_,
        sigma=noise_multiplier(study),
        class_weights=task.class_weights,
        seed=seed,
    )
    update = to_vector(module) - before
    norm = float(np.linalg.norm(update.astype(np.float64)))
    if not np.isfinite(norm):
        raise SiteError("local training", expected="finite weights", got="nan or infinity", do="Lower learning_rate.")
    scaled = norm > study.aggregation.update_norm
    if scaled:
        update *= np.float32(study.aggregation.update_norm / norm * (1 - 1e-6))
    most = study.federation.max_images
    return Outcome(codec.write(update, weight_of(study, prepared.images), most, scaled=scaled))


def weight_of(study: Study, images: Images) -> int:
    """Training images; with privacy the same public constant at every hospital, since the count is private."""
    most = study.federation.max_images
    if study.privacy.mode != "off":
        return most
    count = len(images.rows(Split.TRAIN))
    if count > most:
        raise SiteError(
            "training images",
            expected=f"at most federation.max_images = {most}",
            got=f"{count}",
            do="Ask the consortium to raise it.",
        )
    return count


def evaluate(study: Study, task: EvaluateTask, prepared: Prepared, *, show: bool) -> Outcome:
    """Score one split; `show` adds this hospital's own AUC in the clear."""
    if task.split not in (Split.VALIDATION, Split.TEST):
        raise PeerError("evaluate task", expected="the validation or the test split", got=str(task.split))
    module = network_of(study)
    load_vector(module, _weights(task.weights, module))
    images = prepared.images
    rows = images.rows(Split(task.split))
    counts = BinaryCounts.of(
        scores(module, images, rows, study.evaluation.views), images.label[rows], images.patient[rows]
    )
    return Outcome(count_plain(counts.to_integers()), own_figures(counts) if show else None)


def own_figures(counts: BinaryCounts) -> OwnFigures:
    """One hospital's AUC with its interval, from its own counts."""
    low, high = counts.stratified_interval
    area = counts.stratified_auc
    return OwnFigures(auc=area, low=low, high=high, n=counts.images, positives=int(counts.positives.sum()))


def _weights(data: memoryview, module: torch.nn.Module) -> NDArray[np.float32]:
    expected = sum(p.numel() for p in module.state_dict().values())
    if len(data) != 4 * expected:
        raise PeerError("weights", expected=f"{4 * expected} bytes", got=f"{len(data)}", do="Run the same Konsil.")
    weights = np.frombuffer(data, "<f4").astype(np.float32)
    if not np.isfinite(weights).all():
        raise PeerError("weights", expected="finite numbers", got="nan or infinity")
    return weights
