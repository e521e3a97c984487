"""One run of the real federation with canary patients in it, and what an auditor at the coordinator makes of it.

Real: hospitals' homes, DICOM, ledger, sampling, clipping, rounding, noise, masks, the coordinator. Not: the study
(simulations/audit/setting.py), and hospitals that work with the coordinator, which add no noise: as many as the study
reckons with, in mode "local" all but one.

Unit: patient. Participation: each canary in the run with probability ½, then in each step with the study's rate.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client.home import Home
from client.site import Site
from client.training.gradients.layers import Layers
from client.training.private import Release
from client.workbench import Prepared, prepare_for
from server.aggregate import Aggregator, Sum
from server.checkpoints import Checkpoint, Checkpoints
from server.contributions import Progress
from server.coordinator import Coordinator
from server.open_plan import Desk
from server.run import open_run
from shared.layout import layout_for
from shared.messages.tasks import AnyTask, TrainTask
from shared.network import network_of
from shared.parameters import in_layout_order
from shared.study import Study
from simulations.audit.auditor import Auditor
from simulations.audit.canaries import CanaryGradients, with_canaries
from simulations.audit.guesses import Guesses
from simulations.audit.noises import bare
from simulations.audit.setting import audited, opened
from simulations.faults import LocalLink
from simulations.hospital import PROFILES, write_hospital
from simulations.local import LocalFederation, Recorder
from simulations.sites import POLICY

#: True patients of each hospital.
PATIENTS = 4
#: steps done, in all
Told = Callable[[int, int], None]
#: given each opened sum, in clips
See = Callable[[NDArray[np.float64]], None]


@dataclass(frozen=True)
class Trial:
    """What came of it: the `guesses` (simulations/audit/auditor.py), and the `noise` that the auditor measured in the
    opened sums, in clips, the middle of all steps; `colluders` of the `sites` added none."""

    guesses: tuple[Guesses, ...]
    noise: float
    sites: int
    colluders: int


def trial(
    study: Study, canaries: int, *, release: Release, told: Told = lambda *_: None, seed: int | None = None
) -> Trial:
    """Audit the privacy of `study` with `canaries`; honest hospitals add noise by `release`.

    `seed` fixes which canaries take part and where they lie: for tests. Raises InputError for a target that no noise
    meets.
    """
    small, rng = audited(study, canaries), np.random.default_rng(seed)
    size = layout_for(small).moving
    places, planted = rng.permutation(size)[:canaries], rng.random(canaries) < 0.5
    where = np.argsort(in_layout_order(network_of(small), np.arange(size, dtype=np.float64)))  # of a weight in a sum
    way = CanaryGradients(Layers(), places, inside=small.privacy.clip_quantile or 0.0)
    auditor = Auditor(where[places], small.privacy.sampling_rate or 1.0)

    def see(total: NDArray[np.float64]) -> None:
        auditor.see(total)
        told(len(auditor.noise), small.training.rounds)

    with tempfile.TemporaryDirectory(prefix="konsil-audit-") as folder:
        observe(Path(folder), small, way, np.flatnonzero(planted), release=release, see=see)
    sites = small.federation.min_sites
    return Trial(auditor.judged(planted), float(np.median(auditor.noise)), sites, sites - _honest(small))


def observe(
    folder: Path, study: Study, way: CanaryGradients, planted: NDArray[np.int64], *, release: Release, see: See
) -> Checkpoint:
    """One run of `study` in `folder` with the canaries `planted`; `see` is given each opened sum. Where it ended."""
    federation, out = _found(folder, study), folder / "run"
    link = LocalLink(_sites(federation, study, way, planted, release))
    start = open_run(out, study, resume=False)
    roster, operator = federation.federation.roster, federation.federation.operator
    invitation = federation.federation.invitation(start.identity.run, study)
    aggregator = _Watched(link, invitation, roster, operator, desk=Desk(out / "plan.bin"))
    aggregator.see = see
    return Coordinator(aggregator, Checkpoints(out / "checkpoints"), Recorder(), start=1).run(start.begin).checkpoint


def _found(folder: Path, study: Study) -> LocalFederation:
    archives = {}
    for number in range(study.federation.min_sites):
        name, profile = f"site-{number:03d}", list(PROFILES.values())[number % len(PROFILES)]
        archives[name] = folder / "archives" / name
        write_hospital(archives[name], patients=PATIENTS, seed=number, profile=profile)
        home = folder / "sites" / name
        home.mkdir(parents=True)
        (home / "policy.toml").write_text(_policy(study))
    return LocalFederation.make(folder, archives, study)


def _policy(study: Study) -> str:
    """Simulated hospitals' own, with what the study promises."""
    limit, delta = study.privacy.epsilon or 0.0, study.privacy.delta or 0.0
    return POLICY.replace("= 8.0", f"= {1.001 * limit!r}").replace("delta = 1e-5", f"delta = {delta!r}")


def _sites(
    federation: LocalFederation, study: Study, way: CanaryGradients, planted: NDArray[np.int64], release: Release
) -> list[Site]:
    """Honest hospitals first, with the canaries that take part; then the colluders, with none and without noise."""
    honest, sites = _honest(study), []
    for index, name in enumerate(federation.names):
        mine = planted[planted % honest == index] if index < honest else planted[:0]
        sites.append(
            Site(
                federation.home(name),
                prepare=partial(_prepare, mine),
                way=way,
                release=release if index < honest else bare,
            )
        )
    return sites


def _honest(study: Study) -> int:
    """How many hospitals' noise there is: in mode "local" one must be enough."""
    distributed = study.privacy.mode == "distributed"
    return study.federation.min_sites - study.aggregation.colluders if distributed else 1


def _prepare(planted: NDArray[np.int64], home: Home, study: Study) -> Prepared:
    return with_canaries(prepare_for(home, study), planted)


class _Watched(Aggregator):
    """The coordinator's, with the auditor beside it: each opened sum of training is shown to both."""

    see: See

    def aggregate(self, task: AnyTask, *, round_: int, attempt: int, progress: Progress) -> Sum:
        """See `Aggregator.aggregate`."""
        total = super().aggregate(task, round_=round_, attempt=attempt, progress=progress)
        if isinstance(task, TrainTask):
            self.see(opened(self.study, task, total, self.parameters))
        return total
