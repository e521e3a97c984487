"""What the hospitals could do without the federation: each alone, and all images in one place.

The same code, rounds, steps, privacy settings and choice of the best round as in the federation, and the same held-out
patients of all hospitals. A hospital alone chooses its best round on its own validation patients.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from msgspec.structs import replace
from numpy.typing import NDArray

from client.evaluation import look, own_figures
from client.home import Home
from client.images import Images, Split
from client.workbench import prepare_for
from server.initial import start_of
from server.report.build import site_auc
from server.report.result import Baseline, Baselines
from server.strategies.base import Weights
from shared.judged import Table, goodness
from shared.network import network_of
from shared.parameters import load_vector
from shared.study import Study
from shared.tasks.registry import kind_of
from shared.workers import pool
from simulations.alone import Alone
from simulations.shortcut import shortcut_of

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
        pixels=np.concatenate([images.tensors(np.arange(len(images.target))) for images in sites]),
        target=_stacked([images.target for images in sites]),
        patient=np.concatenate([images.patient + first for images, first in zip(sites, offsets, strict=False)]),
        keys=tuple(key for images in sites for key in images.keys),
        split=np.concatenate([images.split for images in sites]),
    )


def _stacked(targets: Sequence[NDArray[np.generic]]) -> NDArray[np.generic]:
    """The targets of all sites, [N, …]; of boxes as many places as the site with most has."""
    if targets[0].ndim != 3 or len({target.shape[1:] for target in targets}) == 1:
        return np.concatenate(targets)
    most = max(target.shape[1] for target in targets)
    return np.concatenate([np.pad(t, ((0, 0), (0, most - t.shape[1]), (0, 0)), constant_values=-1) for t in targets])


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
        shortcut = executor.submit(_shortcut, study, homes)
        waiting = {executor.submit(_run, job): job.name for job in jobs}
        for done in as_completed(waiting):
            found[waiting[done]] = done.result()
            progress(waiting[done])
        told = shortcut.result()
    pooled = found.pop(POOLED)
    return Baselines(alone={name: found[name] for name in homes}, pooled=pooled, shortcut=told)


def _shortcut(study: Study, homes: Mapping[str, Home]) -> Table:
    torch.set_num_threads(1)
    sites = {name: prepare_for(home, study).images for name, home in homes.items()}
    binary = study.task.kind == "classification" and len(study.task.labels) == 2
    return shortcut_of(sites, binary=binary).table


def _run(job: _Job) -> Baseline:
    torch.set_num_threads(1)
    sites = {name: prepare_for(home, job.study).images for name, home in job.homes.items()}
    best = _train(job, together([sites[name] for name in job.train]))
    counts = {name: judge(job.study, best, images, Split.TEST) for name, images in sites.items()}
    kind = kind_of(job.study)
    total = kind.judge([sum(values) for values in zip(*counts.values(), strict=True)])
    each = {name: kind.judge(values) for name, values in counts.items()}
    head, pooled = total.figure("stratified_auc"), total.figure("pooled_auc")
    return Baseline(
        stratified_auc=head.value if head else None,
        low=head.low if head else None,
        high=head.high if head else None,
        pooled_auc=pooled.value if pooled else None,
        sites={name: site_auc(own_figures(judged)) for name, judged in each.items()} if head else {},
        judged=total,
        each=each,
    )


def _train(job: _Job, images: Images) -> Weights:
    """The best of the rounds' models on this training set's own validation patients."""
    study = job.study
    alone = Alone(study, images)
    state = alone.begin(start_of(study, job.folder)[1])
    best, best_good, stale = state.result, -math.inf, 0
    for round_ in range(1, study.training.rounds + 1):
        state = alone.move(state, round_)
        if round_ % study.evaluation.every and round_ != study.training.rounds:
            continue
        good = goodness(kind_of(study).judge(judge(study, state.result, images, Split.VALIDATION)).headline)
        best, best_good, stale = (state.result, good, 0) if good > best_good else (best, best_good, stale + 1)
        if study.training.early_stopping and stale >= study.training.early_stopping:
            break
    return best


def judge(study: Study, weights: Weights, images: Images, split: Split) -> tuple[int, ...]:
    """What is counted of `split`, with the noise the study asks for."""
    module = network_of(study)
    load_vector(module, weights)
    return look(study, module, images, split).counts().everybody
