"""Shadow models of a finished run, and the attack on its final model with them (simulations/audit/membership.py).

A shadow is trained by the code of a hospital and a coordinator without the federation, on half of the patients of all
hospitals, whichever part of the study they were in: with the study's privacy, for as many rounds as the final model.
The attacker is so given more than anybody outside has: every image and label, and who holds them, but not who was
trained on.
"""

import functools
import os
from collections.abc import Callable
from concurrent.futures import as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from client.home import Home
from client.images import Images, Split
from client.training.evaluate import measures
from client.workbench import prepare_for
from server.initial import start_of
from server.strategies.base import Weights
from shared.errors import InputError
from shared.layout import layout_for
from shared.network import network_of
from shared.parameters import load_vector
from shared.study import Study
from shared.tasks.registry import kind_of
from shared.weights import load_weights
from shared.wire import pack, unpack
from shared.workers import pool
from simulations.alone import Alone
from simulations.audit.curve import Curve
from simulations.audit.membership import RATES, Membership, halves, judged, ratios, statistic
from simulations.baselines import pooled_study, together

Floats = NDArray[np.float64]
#: done, in all
Told = Callable[[int, int], None]


@dataclass(frozen=True)
class Target:
    """The finished run in `folder`: its study, its hospitals' homes, and the `rounds` behind its final model."""

    folder: Path
    study: Study
    homes: tuple[Path, ...]
    rounds: int


def attack(target: Target, *, shadows: int, claim: Curve | None, told: Told, seed: int | None = None) -> Membership:
    """The attack on `target`, with `shadows` models, an even number; `claim` is what was promised. `seed` fixes who is
    in which shadow. Raises InputError where there is no model or nobody to tell apart."""
    images = _images(target)
    member = images.split == Split.TRAIN
    if member.all() or not member.any():
        raise InputError(str(target.folder), expected="patients trained on, and others", got="one kind only")
    layout = layout_for(target.study)
    model = load_weights(layout, _model(target.folder).read_bytes(), "model.safetensors")
    inside = halves(len(member), shadows, np.random.default_rng(seed))
    found = np.empty(inside.shape)
    with pool(os.cpu_count() or 1) as executor:
        waiting = {executor.submit(_shadow, target, taken): row for row, taken in enumerate(inside)}
        for done, future in enumerate(as_completed(waiting), start=1):
            found[waiting[future]] = future.result()
            told(done, shadows)
    allowed = () if claim is None else _allowed(claim)
    scored = ratios(_measured(target.study, images, model), found, inside)
    return judged(scored, member, shadows=shadows, allowed=allowed)


def _model(folder: Path) -> Path:
    path = folder / "model.safetensors"
    if not path.is_file():
        raise InputError(str(path), expected="a run's final model", got="no such file", do="Name a finished run.")
    return path


def _allowed(claim: Curve) -> tuple[float, ...]:
    """The most that any test finds at each of RATES of false alarms (Dong, Roth, Su 2022, proposition 2.3)."""
    return tuple(map(float, 1 - claim.least(1 - np.array(RATES))))


def _images(target: Target) -> Images:
    return _together(pack(target.study), target.homes)


@functools.cache
def _together(study: bytes, homes: tuple[Path, ...]) -> Images:
    """All hospitals' images in one, every patient with at least one; once in a process. `study` packed: a key."""
    images = together([prepare_for(Home(home), unpack(Study, study)).images for home in homes])
    present, patient = np.unique(images.patient, return_inverse=True)
    keys = tuple(images.keys[p] for p in present)
    return replace(images, patient=patient, keys=keys, split=images.split[present])


def _shadow(target: Target, taken: NDArray[np.bool_]) -> Floats:
    """The statistic of every patient under a model that was trained on those `taken`."""
    torch.set_num_threads(1)
    images, study = _images(target), pooled_study(target.study, len(target.homes))
    half = replace(images, split=np.where(taken, Split.TRAIN, Split.VALIDATION).astype(np.int64))
    alone = Alone(study, half)
    state = alone.begin(start_of(study, target.folder)[1])
    for round_ in range(1, target.rounds + 1):
        state = alone.move(state, round_)
    return _measured(study, images, state.result)


def _measured(study: Study, images: Images, weights: Weights) -> Floats:
    module = network_of(study)
    load_vector(module, weights)
    every = np.arange(len(images.target))
    found = measures(kind_of(study), module, images, every, study.evaluation.views)
    return statistic(found[:, -1].astype(np.float32), np.asarray(images.target, np.int64), images.patient)
