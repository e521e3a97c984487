"""Hospitals whose splits stay the same from run to run, for comparing studies: real homes, sites, masks, coordinator.

What is not real is the ledger: every run begins with an empty one, as a copy of the same homes, so that runs of the
same study do not add up and are no longer private together. Figures for a table, never a way to work.
"""

import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from client.images import Split
from client.workbench import prepare_for
from server.initial import start_of
from server.report.result import Result
from shared.study import Privacy, Study
from shared.tasks.registry import kind_of
from simulations.alone import Alone
from simulations.baselines import judge, together
from simulations.faults import LocalLink
from simulations.local import LocalFederation

#: Of a federation's folder.
PARTS = ("federation", "sites")
#: Longest update of a study without privacy: longer than any.
OPEN_NORM = 1000.0


@dataclass(frozen=True)
class Figure:
    """Held-out patients: area under the curve, pairs compared within a hospital, and over all; and what it took."""

    auc: float
    pooled_auc: float
    epsilon: float
    seconds: float


@dataclass(frozen=True)
class Clinics:
    """Homes in `folder` that are copied for each run; `names` of the hospitals."""

    folder: Path
    names: tuple[str, ...]

    @classmethod
    def found(cls, folder: Path, archives: Mapping[str, Path], study: Study) -> "Clinics":
        """New keys, so new splits; the images decoded once."""
        LocalFederation.make(folder, archives, study)
        return cls(folder, tuple(archives))

    def federated(self, study: Study) -> Figure:
        """One run of `study`. Raises RuntimeError where it does not finish."""
        out = self.folder / "copy"
        for part in PARTS:
            shutil.copytree(self.folder / part, out / part)
        try:
            local, started = LocalFederation(out, self.names), time.monotonic()
            _, result = local.run(LocalLink(local.sites()), study)
            return _figure(result, time.monotonic() - started)
        finally:
            shutil.rmtree(out)

    def pooled(self, study: Study) -> Figure:
        """The same study on all images in one place, judged hospital by hospital on the same held-out patients."""
        started = time.monotonic()
        local = LocalFederation(self.folder, self.names)
        sites = [prepare_for(local.home(name), study).images for name in self.names]
        alone = Alone(study, together(sites))
        state = alone.begin(start_of(study, self.folder)[1])
        for round_ in range(1, study.training.rounds + 1):
            state = alone.move(state, round_)
        counts = [judge(study, state.result, images, Split.TEST) for images in sites]
        found = kind_of(study).judge([sum(values) for values in zip(*counts, strict=True)])
        areas = [found.figure(name) for name in ("stratified_auc", "pooled_auc")]
        first, second = (math.nan if area is None or area.value is None else area.value for area in areas)
        return Figure(first, second, study.privacy.epsilon or 0.0, time.monotonic() - started)


def _figure(result: Result, seconds: float) -> Figure:
    found = result.metrics
    if result.status != "finished" or found is None or found.stratified_auc is None or found.pooled_auc is None:
        raise RuntimeError(f"{result.study.name}: {result.status}: {result.because}")
    epsilon = max((each.epsilon_run or 0.0 for each in result.privacy.values()), default=0.0)
    return Figure(found.stratified_auc, found.pooled_auc, epsilon, seconds)


def at_epsilon(study: Study, epsilon: float, learning_rate: float) -> Study:
    """`study` with another promise, and the learning rate that suits its noise."""
    return replace(
        study,
        privacy=replace(study.privacy, epsilon=epsilon),
        training=replace(study.training, learning_rate=learning_rate),
    )


def without_privacy(study: Study, **training: Any) -> Study:
    """`study` not private, trained as `training` says: its model, its images, its splits."""
    return replace(
        study,
        name=f"{study.name}-open",
        privacy=Privacy(mode="off"),
        training=replace(study.training, **training),
        aggregation=replace(study.aggregation, update_norm=OPEN_NORM),
    )
