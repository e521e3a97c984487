"""What the hospitals could do without the federation: each alone, and all images in one place.

The same code, rounds, steps, privacy settings and choice of the best round as in the federation, and the same held-out
patients of all hospitals. A hospital alone chooses its best round on its own validation patients.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass

import numpy as np
import torch
from msgspec.structs import replace

from client.home import Home
from client.images import Images, Split
from client.steps import own_figures, prepare_for
from client.training.evaluate import scores
from client.training.loop import train
from server.report.build import site_auc
from server.report.result import Baseline, Baselines, figure
from server.strategies import fedavg
from server.survey import class_weights
from shared.accounting import noise_multiplier
from shared.metrics import BinaryCounts
from shared.network import network_of
from shared.parameters import load_vector, to_vector
from shared.study import Study
from shared.vectors import Survey
from shared.workers import pool

POOLED = "all hospitals pooled"


@dataclass(frozen=True)
class _Job:
    """Train on the hospitals `train` together, judge on all `homes`."""

    name: str
    study: Study
    train: tuple[str, ...]
    homes: Mapping[str, Home]


def pooled_study(study: Study, sites: int) -> Study:
    """`study` for the images of all `sites` in one place: a step sums over that many times the patients."""
    if study.training.local_steps is None:
        return study
    return replace(study, training=replace(study.training, batch=study.training.batch * sites))


def together(sites: Sequence[Images]) -> Images:
    """The images of `sites` in one, patients of different hospitals kept apart; one site as it is."""
    if len(sites) == 1:
        return sites[0]
    offsets = np.cumsum([0, *(len(images.keys) for images in sites)])
    return Images(
        pixels=np.concatenate([images.tensors(np.arange(len(images.label))) for images in sites]),
        label=np.concatenate([images.label for images in sites]),
        patient=np.concatenate([images.patient + first for images, first in zip(sites, offsets, strict=False)]),
        keys=tuple(key for images in sites for key in images.keys),
        split=np.concatenate([images.split for images in sites]),
    )


def baselines(study: Study, homes: Mapping[str, Home], *, workers: int, progress: Callable[[str], None]) -> Baselines:
    """Train every baseline, in `workers` processes; `progress` is told the name of each that is done."""
    jobs = [_Job(POOLED, pooled_study(study, len(homes)), tuple(homes), homes)]
    jobs += [_Job(name, study, (name,), homes) for name in homes]
    found: dict[str, Baseline] = {}
    with pool(workers) as executor:
        waiting = {executor.submit(_run, job): job.name for job in jobs}
        for done in as_completed(waiting):
            found[waiting[done]] = done.result()
            progress(waiting[done])
    pooled = found.pop(POOLED)
    return Baselines(alone={name: found[name] for name in homes}, pooled=pooled)


def _run(job: _Job) -> Baseline:
    torch.set_num_threads(1)
    sites = {name: prepare_for(home, job.study).images for name, home in job.homes.items()}
    best = _train(job.study, together([sites[name] for name in job.train]))
    counts = {name: _judge(job.study, best, images, Split.TEST) for name, images in sites.items()}
    total = sum(list(counts.values())[1:], start=next(iter(counts.values())))
    low, high = total.stratified_interval
    return Baseline(
        stratified_auc=figure(total.stratified_auc),
        low=figure(low),
        high=figure(high),
        pooled_auc=figure(total.pooled_auc),
        sites={name: site_auc(own_figures(c)) for name, c in counts.items()},
    )


def _train(study: Study, images: Images) -> fedavg.Weights:
    """The best of the rounds' models on this training set's own validation patients."""
    module = network_of(study)
    state = fedavg.init(to_vector(module))
    weights, sigma = class_weights(study, _labels(images)), noise_multiplier(study)
    best, best_auc, stale = state.result, -1.0, 0
    for round_ in range(1, study.training.rounds + 1):
        load_vector(module, state.weights)
        train(module, images, study, round=round_, sigma=sigma, class_weights=weights, seed=study.training.seed)
        state = fedavg.apply(state, to_vector(module) - state.weights, averaging=study.federation.averaging)
        if round_ % study.evaluation.every and round_ != study.training.rounds:
            continue
        area = _judge(study, state.result, images, Split.VALIDATION).stratified_auc
        best, best_auc, stale = (state.result, area, 0) if area > best_auc else (best, best_auc, stale + 1)
        if study.training.early_stopping and stale >= study.training.early_stopping:
            break
    return best


def _labels(images: Images) -> Survey:
    counts = np.bincount(images.label[images.rows(Split.TRAIN)], minlength=2)
    return Survey(splits=(0, 0, 0), labels=tuple(map(int, counts)), skipped={})


def _judge(study: Study, weights: fedavg.Weights, images: Images, split: Split) -> BinaryCounts:
    module = network_of(study)
    load_vector(module, weights)
    rows = images.rows(split)
    return BinaryCounts.of(
        scores(module, images, rows, study.evaluation.views), images.label[rows], images.patient[rows]
    )
