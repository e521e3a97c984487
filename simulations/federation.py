"""A whole federation on this machine, under Flower's own simulation engine, from archives to the report.

Every line but this file's is the one that runs at a coordinator and in a hospital.
"""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from flwr.server.superlink.fleet.vce.backend.backend import BackendConfig
from flwr.simulation import run_simulation
from msgspec.structs import replace
from rich.console import Console
from rich.progress import Progress, TaskID

from client.home import Home
from server.app import make_app
from server.collect import GridLink
from server.federation import create
from server.initial import bring
from server.progress import Progress as RunProgress
from server.report.result import Baselines, Purpose, Result
from server.run import Start, conduct, open_run, publish
from shared.accounting import evaluation_noise, noise_multiplier
from shared.console import bars
from shared.errors import OperatorError
from shared.files import write_atomically
from shared.network import network_of
from shared.study import Study
from simulations.baselines import baselines
from simulations.processes import found, run_study, up
from simulations.relay import SITES
from simulations.relay import app as client_app
from simulations.sites import SimulatedSite, check_archives, check_labels, open_site


@dataclass(frozen=True)
class Wish:
    """What the person at the command line asked for. `source` is the text of the study file, `beside` its folder."""

    study: Study
    source: str
    archives: Mapping[str, Path]
    out: Path
    resume: bool = False
    baselines: bool = False
    purpose: Purpose = "model"
    beside: Path = Path()
    #: where the hospitals' homes and the federation's keys are, if not in `out`: runs that share them share the splits
    homes: Path | None = None

    @property
    def federation(self) -> Path:
        """The folder of homes and keys."""
        return self.homes or self.out


def simulate(wish: Wish, console: Console) -> Result:
    """Run the study; result.json, report.html and model.safetensors are in `wish.out` when this returns.

    Everything that can be wrong with study, archives and checkpoints is found before the first process starts.
    """
    study = wish.study
    _check(wish)
    bring(study, wish.beside, wish.out)
    start = open_run(wish.out, study, resume=wish.resume, purpose=wish.purpose)
    write_atomically(wish.out / "study.toml", wish.source.encode())
    sites = _open_sites(wish, console)
    result = _run(start, wish, sites, console)
    if wish.baselines and result.judged is not None:
        result = replace(result, baselines=_baselines(study, sites, wish.out, console))
        publish(result, wish.out)
    return result


def simulate_processes(wish: Wish, console: Console) -> Result:
    """The same, by a real coordinator and real daemons on this machine."""
    _check(wish)
    archives = {name: archive.resolve() for name, archive in wish.archives.items()}
    federation = found(wish.out, archives, tell=lambda what: console.print(what, highlight=False))
    write_atomically(wish.out / "study.toml", wish.source.encode())
    bring(wish.study, wish.beside, wish.out)
    with up(federation):
        study = wish.out / "study.toml"
        result = run_study(federation, study, console, resume=wish.resume, purpose=wish.purpose)
    if wish.baselines and result.judged is not None:
        sites = [SimulatedSite(name, Home(federation.site(name)), 0) for name in archives]
        result = replace(result, baselines=_baselines(wish.study, sites, wish.out, console))
        publish(result, wish.out)
    return result


def _check(wish: Wish) -> None:
    network_of(wish.study)
    for split in (1, 2):
        evaluation_noise(wish.study, split)
    noise_multiplier(wish.study)
    check_archives(wish.archives, wish.study)


def _shown(bar: Progress, task: TaskID, name: str) -> Callable[[str, int, int], None]:
    def show(stage: str, done: int, of: int) -> None:
        bar.update(task, description=f"{name}: {stage}", completed=done, total=of)

    return show


def _open_sites(wish: Wish, console: Console) -> list[SimulatedSite]:
    federation = create(wish.federation / "federation")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    sites = []
    with bars(console) as bar:
        for name, archive in wish.archives.items():
            task = bar.add_task(f"{name}: scan", total=None)
            folder, show = wish.federation / "sites" / name, _shown(bar, task, name)
            sites.append(open_site(folder, name, archive, federation, wish.study, device=device, progress=show))
    check_labels(sites, wish.study)
    federation.enroll({site.name: site.home.identity.public for site in sites})
    return sites


def _run(start: Start, wish: Wish, sites: list[SimulatedSite], console: Console) -> Result:
    """The ServerApp in this process, the ClientApps in Ray's."""
    found: list[Result] = []
    federation = create(wish.federation / "federation")

    with RunProgress(console) as observer:
        server_app = make_app(lambda grid, _: found.append(conduct(start, GridLink(grid), federation, observer)))
        os.environ[SITES] = os.pathsep.join(str(site.home.path.resolve()) for site in sites)
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        os.environ.setdefault("RAY_worker_niceness", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        logging.getLogger("flwr").setLevel(logging.CRITICAL)
        run_simulation(server_app, client_app, len(sites), backend_config=_backend(len(sites)))
    if not found:
        raise OperatorError("simulation", expected="a result", got="none", do="See the messages above.")
    return found[0]


def _backend(sites: int) -> BackendConfig:
    """Ray on this machine alone: one process per core at most, no dashboard, a small object store."""
    gpus = torch.cuda.device_count()
    return {
        "init_args": {
            "num_cpus": os.cpu_count() or 1,
            "num_gpus": gpus,
            "include_dashboard": False,
            "log_to_driver": False,
            "logging_level": logging.CRITICAL,
            "object_store_memory": 256 * 1024 * 1024,
        },
        "client_resources": {"num_cpus": 1, "num_gpus": min(gpus, 1) / max(1, min(sites, os.cpu_count() or 1))},
    }


def _baselines(study: Study, sites: list[SimulatedSite], folder: Path, console: Console) -> Baselines:
    homes = {site.name: site.home for site in sites}
    with bars(console) as bar:
        task = bar.add_task("baselines", total=len(sites) + 1)
        return baselines(study, homes, folder, workers=os.cpu_count() or 1, progress=lambda _: bar.advance(task))
