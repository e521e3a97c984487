"""The plain Flower app of plain_app/ on a real SuperLink and real SuperNodes, with TLS and node keys."""

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from flwr.cli.build import build_fab_from_disk
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import StartRunRequest
from flwr.supercore.control.control_http_client import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from numpy.typing import NDArray

from client.node_home import NodeHome
from server.control import Control
from shared.crypto.node_key import public_form
from shared.study import Study
from shared.supervise import python, script
from simulations.processes import Processes, free_ports

APP = Path(__file__).with_name("plain_app")
#: Seconds until every SuperNode must be there, and until the whole run must be over.
READY_S, RUN_S = 60.0, 1800.0


@dataclass(frozen=True)
class Round:
    """One round: from its beginning to the end of its evaluation, and the slowest hospital's own seconds in it."""

    seconds: float
    slowest_site_s: float

    @property
    def overhead_s(self) -> float:
        """Seconds beyond the slowest hospital's own work."""
        return self.seconds - self.slowest_site_s


@dataclass(frozen=True)
class PlainFlower:
    """The app in `folder`, with the certificates and node keys that `federation`, which is down, has for itself."""

    folder: Path
    federation: Processes

    def run(self, study: Path, images: Mapping[str, Path]) -> list[Round]:
        """Every round of `study`; hospital NAME's images are those of `images`[NAME]."""
        port, *others = free_ports(1 + len(images))
        out = self.folder / "rounds.json"
        out.unlink(missing_ok=True)
        with ExitStack() as stack:
            stack.enter_context(self._process("superlink", self._superlink(port)))
            client = stack.enter_context(self._control(port))
            self._register(Control(client), images)
            for (name, file), own in zip(images.items(), others, strict=True):
                stack.enter_context(self._process(name, self._supernode(name, port, own, study, file)))
            _wait_online(Control(client), len(images))
            _start(client, {"study": str(study), "out": str(out)})
            _wait_for(out)
        return [Round(**row) for row in json.loads(out.read_text())]

    def _superlink(self, port: int) -> list[str]:
        tls = self.federation.coordinator.tls
        return [
            script("flower-superlink"),
            *("--ssl-ca-certfile", str(tls / "ca.pem")),
            *("--ssl-certfile", str(tls / "server.pem"), "--ssl-keyfile", str(tls / "server.key")),
            *("--enable-supernode-auth", "--disable-runtime-dependency-installation", "--port", str(port)),
        ]

    def _supernode(self, name: str, port: int, own: int, study: Path, images: Path) -> list[str]:
        node = self._node(name)
        return [
            script("flower-supernode"),
            *("--superlink", f"localhost:{port}", "--root-certificates", str(node.authority)),
            *("--auth-supernode-private-key", str(node.key), "--port", str(own)),
            *("--node-config", f'study="{study}" images="{images}"'),
        ]

    def _node(self, name: str) -> NodeHome:
        site = self.federation.site(name)
        return NodeHome(site.with_name(f"{site.name}-node"))

    @contextmanager
    def _process(self, name: str, command: Sequence[str]) -> Iterator[None]:
        """`command` running; its log and Flower's files in a folder of its own."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        path = f"{Path(script('flower-superlink')).parent}{os.pathsep}{os.environ['PATH']}"
        env = self.federation.env() | {"FLWR_HOME": str(folder), "PATH": path}
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                python("shared.leash", str(os.getpid()), *command), env=env, stdout=log, stderr=subprocess.STDOUT
            )
            try:
                yield
            finally:
                process.terminate()
                process.wait()

    @contextmanager
    def _control(self, port: int) -> Iterator[ControlHttpClient]:
        client = ControlHttpClient.from_server_address(
            server_address=f"localhost:{port}",
            insecure=False,
            root_certificates=(self.federation.coordinator.tls / "ca.pem").read_bytes(),
            interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr")],
        )
        try:
            yield client
        finally:
            client.close()

    def _register(self, control: Control, names: Mapping[str, Path]) -> None:
        _until_up(control)
        for name in names:
            control.register(public_form(self._node(name).key.read_bytes()).encode(), name)


def write_images(folder: Path, study: Study, names: Sequence[str], train: int, validation: int) -> dict[str, Path]:
    """Random images of the study's size for every hospital: their number is what counts, not what they show."""
    files = {}
    for seed, name in enumerate(names):
        rng = np.random.default_rng(seed)
        arrays: dict[str, NDArray[np.generic]] = {}
        for split, count in (("train", train), ("validation", validation)):
            arrays[split] = rng.random((count, 1, *study.input.size), dtype=np.float32)
            arrays[f"{split}_label"] = rng.integers(2, size=count)
        files[name] = folder / f"{name}.npz"
        np.savez(files[name], allow_pickle=False, **arrays)
    return files


def _until_up(control: Control) -> None:
    until = time.monotonic() + READY_S
    while True:
        try:
            control.nodes()
        except httpx.HTTPError:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)
        else:
            return


def _wait_online(control: Control, count: int) -> None:
    until = time.monotonic() + READY_S
    while sum(node.online for node in control.nodes()) < count:
        if time.monotonic() > until:
            raise TimeoutError(f"expected {count} SuperNodes online")
        time.sleep(0.5)


def _start(client: ControlHttpClient, config: dict[str, str]) -> None:
    content = build_fab_from_disk(APP)
    fab = Fab(hash_str=hashlib.sha256(content).hexdigest(), content=content, verifications={})
    overrides = user_config_to_proto(dict(config))
    client.StartRun(StartRunRequest(fab=fab_to_proto(fab), override_config=overrides))


def _wait_for(out: Path) -> None:
    until = time.monotonic() + RUN_S
    while not out.exists():
        if time.monotonic() > until:
            raise TimeoutError(f"expected {out} within {RUN_S:g} s: see the logs beside it")
        time.sleep(0.5)
    time.sleep(1.0)  # its last write, and the ServerApp's own end
