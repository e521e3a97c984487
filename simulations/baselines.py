"""What the hospitals could do without the federation: each alone, and all images in one place.

The same code, rounds, steps, privacy settings and choice of the best round as in the federation, and the same held-out
patients of all hospitals. A hospital alone chooses its best round on its own validation patients.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from msgspec.structs import replace

from client.home import Home
from client.images import Images, Split
from client.steps import counts_of, own_figures
from client.workbench import prepare_for
from server.initial import start_of
from server.report.build import site_auc
from server.report.result import Baseline, Baselines, figure
from server.strategies.base import Weights
from shared.metrics import BinaryCounts
from shared.network import network_of
from shared.parameters import load_vector
from shared.study import Study
from shared.workers import pool
from simulations.alone import Alone

POOLED = "all hospitals pooled"


@dataclass(frozen=True)
class _Job:
    """Train on the hospitals `train` together, judge on all `homes`."""

    name: str
    study: Study
    train: tuple[str, ...]
    homes: Mapping[str, Home]
    #: of the run: where the study's `model.init` lies
    folder: Path


def pooled_study(study: Study, sites: int) -> Study:
    """`study` for the images of all `sites` in one place: a step of a hospital becomes one over that many times the
    patients. With privacy of mode "distributed" a step is over all of them already."""
    if study.training.local_steps is None or study.privacy.mode == "distributed":
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


def alone_study(study: Study, sites: int) -> Study:
    """`study` for the images of one of `sites`: of a step over all of them its share."""
    if study.privacy.mode != "distributed":
        return study
    return replace(study, training=replace(study.training, batch=max(1, study.training.batch // sites)))


def baselines(
    study: Study, homes: Mapping[str, Home], folder: Path, *, workers: int, progress: Callable[[str], None]
) -> Baselines:
    """Train every baseline of the run in `folder`, in `workers` processes; `progress` is told the name of each done."""
    jobs = [_Job(POOLED, pooled_study(study, len(homes)), tuple(homes), homes, folder)]
    jobs += [_Job(name, alone_study(study, len(homes)), (name,), homes, folder) for name in homes]
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
    best = _train(job, together([sites[name] for name in job.train]))
    counts = {name: judge(job.study, best, images, Split.TEST) for name, images in sites.items()}
    total = sum(list(counts.values())[1:], start=next(iter(counts.values())))
    low, high = total.stratified_interval
    return Baseline(
        stratified_auc=figure(total.stratified_auc),
        low=figure(low),
        high=figure(high),
        pooled_auc=figure(total.pooled_auc),
        sites={name: site_auc(own_figures(c)) for name, c in counts.items()},
    )


def _train(job: _Job, images: Images) -> Weights:
    """The best of the rounds' models on this training set's own validation patients."""
    study = job.study
    alone = Alone(study, images)
    state = alone.begin(start_of(study, job.folder)[1])
    best, best_auc, stale = state.result, -1.0, 0
    for round_ in range(1, study.training.rounds + 1):
        state = alone.move(state, round_)
        if round_ % study.evaluation.every and round_ != study.training.rounds:
            continue
        area = judge(study, state.result, images, Split.VALIDATION).stratified_auc
        best, best_auc, stale = (state.result, area, 0) if area > best_auc else (best, best_auc, stale + 1)
        if study.training.early_stopping and stale >= study.training.early_stopping:
            break
    return best


def judge(study: Study, weights: Weights, images: Images, split: Split) -> BinaryCounts:
    """What is counted of `split`, with the noise the study asks for."""
    module = network_of(study)
    load_vector(module, weights)
    return counts_of(study, module, images, split)
