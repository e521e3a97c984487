"""A coordinator with a finished run and its model, one under way with a hostile hospital, and a queued one."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest

from server import observer as seen
from server.federation import create
from server.history import History
from server.home import ServerHome
from server.models import publish_model
from server.report.html import write_report
from server.report.result import read_result
from server.web.app import Web, create_web
from server.web.password import set_password
from shared.crypto.identity import Identity
from shared.files import write_atomically
from shared.network import network_of
from shared.parameters import layout_of, to_vector
from shared.study import MINIMAL, parse_study, study_hash
from shared.weights import save_weights

PASSWORD = "correct horse battery"
HOSTILE = "<script>alert(1)</script>\u202e<img src=//evil.example/x>\x1b[31m{{ 7*7 }}"
SITES = ("city", "east", "north", "university")
STUDY = parse_study(MINIMAL.replace("rounds = 2", "rounds = 12").replace('"minimal"', '"chest-nodules"'))


class Ticking:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def coordinator(path: Path) -> ServerHome:
    """The folder, without a password."""
    create(path).enroll({name: Identity.generate().public for name in SITES})
    write_atomically(path / "server.toml", b'host = "coordinator.example"\n')
    home, history = ServerHome(path), History(path / "history.sqlite")
    for run in ("chest-1", "chest-2", "chest-3"):
        history.enqueue(run, STUDY)
    _finish(home, history, "chest-1")
    _go_on(history, "chest-2")
    nodes = {"city": {"number": 1, "online": True, "since": "2025-03-02T10:11:12+00:00"}, "east": {"online": False}}
    write_atomically(path / "nodes.json", msgspec.json.encode(nodes))
    return home


def _rounds(history: History, run: str, count: int, sites: tuple[str, ...]) -> None:
    history.record(run, seen.RunStarted(run, STUDY.name, len(SITES), 12))
    for site in sites:
        history.record(run, seen.SiteJoined(site))
    for number in range(1, count + 1):
        history.record(run, seen.RoundStarted(number))
        epsilon = {site: 0.5 + 0.4 * number + 0.1 * place for place, site in enumerate(sites)}
        auc = round(0.93 - 0.4 * 0.8**number, 4)
        history.record(run, seen.RoundFinished(number, auc, epsilon, sites, 14.5))


def _finish(home: ServerHome, history: History, run: str) -> None:
    history.start(run)
    _rounds(history, run, 12, SITES)
    history.record(run, seen.RunFinished("finished", ""))
    folder, network = home.runs / run, network_of(STUDY)
    write_atomically(folder / "result.json", msgspec.json.encode(_result(run)))
    write_atomically(
        folder / "study.toml", MINIMAL.replace("= 2\nb", "= 12\nb").replace("minimal", STUDY.name).encode()
    )
    metadata = {"run": run, "round": "12", "study": msgspec.json.encode(STUDY).decode()}
    weights = save_weights(layout_of(network), to_vector(network).astype(np.float32), metadata)
    write_atomically(folder / "model.safetensors", weights)
    write_report(read_result(folder / "result.json"), folder)
    publish_model(home, folder)
    history.end(run, "finished", "")


def _result(run: str) -> dict[str, Any]:
    metrics: dict[str, Any] = {
        "stratified_auc": 0.9, "stratified_low": 0.8, "stratified_high": 1.0, "mean_site_auc": None,
        "pooled_auc": 0.9, "n": 4, "positives": 2, "sites": {}, "operating_point": None, "calibration_error": None,
        "calibration": [], "roc_fpr": [0.0, 1.0], "roc_tpr": [0.0, 1.0],
    }  # fmt: skip
    rounds = {"count": 12, "best": 12, "seconds": 1, "slowest_site_s": 1, "overhead_s": 0}
    images: dict[str, object] = {"used": 4, "splits": {}, "skipped": {}, "per_site": {}}
    return {
        "status": "finished", "because": "", "run": run,
        "study": {"name": STUDY.name, "hash": study_hash(STUDY).hex(), "text": STUDY},
        "sites": {"expected": SITES, "contributed": [SITES] * 12, "left_out": [], "images": images},
        "rounds": rounds | {"bytes_down": 1, "bytes_up": 1, "each": []}, "metrics": metrics, "baselines": None,
        "privacy": {}, "aggregation": None, "versions": {"konsil": "0.1.0"},
    }  # fmt: skip


def _go_on(history: History, run: str) -> None:
    history.start(run)
    history.record(run, seen.SiteLeft("university", "join", "policy.toml allows no study without privacy"))
    _rounds(history, run, 4, ("city", "north"))
    history.record(run, seen.RoundStarted(5))
    history.record(run, seen.SiteLeft("north", "train", HOSTILE))
    history.record(run, seen.StepProgress(5, "train", 1, 2))


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> ServerHome:
    """One coordinator for all tests that only look."""
    home = coordinator(tmp_path_factory.mktemp("coordinator"))
    set_password(home, PASSWORD, cost=4)
    return home


@pytest.fixture
def empty(tmp_path: Path) -> ServerHome:
    """A coordinator without runs, hospitals and password."""
    create(tmp_path / "new").enroll({})
    return ServerHome(tmp_path / "new")


@pytest.fixture
def clock() -> Ticking:
    return Ticking()


@pytest.fixture
def web(made: ServerHome, clock: Ticking) -> Web:
    return create_web(made, clock=clock)


class InProcess(httpx.BaseTransport):
    """Requests to an ASGI application, without a network; one of its errors is an answer like any other."""

    def __init__(self, app: Web) -> None:
        self._inner = httpx.ASGITransport(app=app, raise_app_exceptions=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        async def answer() -> httpx.Response:
            found = await self._inner.handle_async_request(request)
            return httpx.Response(found.status_code, headers=found.headers, content=await found.aread())

        return asyncio.run(answer())


@pytest.fixture
def visit() -> Callable[[Web], httpx.Client]:
    """A new browser at the page of a coordinator."""
    return lambda web: httpx.Client(transport=InProcess(web), base_url="https://coordinator.example")


@pytest.fixture
def stranger(web: Web, visit: Callable[[Web], httpx.Client]) -> httpx.Client:
    """Someone without a session."""
    return visit(web)


@pytest.fixture
def operator(web: Web, visit: Callable[[Web], httpx.Client]) -> httpx.Client:
    """Someone who has logged in."""
    client = visit(web)
    client.get("/login")
    ticket = client.cookies["__Host-konsil-ticket"]
    answer = client.post("/login", data={"ticket": ticket, "password": PASSWORD})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    return client
