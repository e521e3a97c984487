"""What the coordinator asks of its own SuperLink: nodes in and out, Flower runs started and stopped.

Flower's Control API over TLS on loopback; the gate lets only this user's processes call it.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources

import httpx
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
    load_ssh_public_key,
)
from flwr.cli.build import build_fab_from_files
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    UnregisterNodeRequest,
)
from flwr.supercore.control.control_http_client import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor

from server.home import ServerHome
from shared.errors import OperatorError


@dataclass(frozen=True)
class FlowerNode:
    """A SuperNode as the SuperLink knows it: its number, its public key (OpenSSH form), and whether it is heard of."""

    number: int
    key: bytes
    online: bool
    since: str


class Control:
    """Calls to the SuperLink; any of them raises httpx.HTTPError while it is away."""

    def __init__(self, client: ControlHttpClient) -> None:
        self._client = client

    def nodes(self) -> tuple[FlowerNode, ...]:
        """Every registered node."""
        found = self._client.ListNodes(ListNodesRequest()).nodes_info
        return tuple(
            FlowerNode(node.node_id, _openssh(node.public_key), node.status == "online", node.last_activated_at)
            for node in found
            if node.status != "unregistered"
        )

    def register(self, key: bytes, name: str) -> None:
        """Let the node with `key` (OpenSSH form) in."""
        pem = load_ssh_public_key(key).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self._client.RegisterNode(RegisterNodeRequest(public_key=pem, name=name))

    def unregister(self, number: int) -> None:
        """Let it in no more."""
        self._client.UnregisterNode(UnregisterNodeRequest(node_id=number))

    def start(self, run: str) -> int:
        """Start a Flower run that conducts Konsil's `run`; returns Flower's number of it."""
        request = StartRunRequest(
            fab=fab_to_proto(bundle()),
            override_config=user_config_to_proto({"run": run}),
        )
        answer = self._client.StartRun(request)
        if not answer.run_id:
            raise OperatorError("SuperLink", expected="a Flower run", got="none", do="See its log.")
        return int(answer.run_id)

    def over(self, number: int) -> bool:
        """Whether that Flower run has ended, one way or another."""
        found = self._client.ListRuns(ListRunsRequest(run_id=number)).run_dict
        return number not in found or found[number].status.status == "finished"

    def stop(self, number: int) -> None:
        """End that Flower run unless it is over; Konsil's run may go on in another."""
        try:
            self._client.StopRun(StopRunRequest(run_id=number))
        except httpx.HTTPStatusError:  # Flower refuses to stop what is over, or unknown to it
            if not self.over(number):
                raise


@contextmanager
def control(home: ServerHome) -> Iterator[Control]:
    """A connection to this coordinator's SuperLink."""
    client = ControlHttpClient.from_server_address(
        server_address=f"127.0.0.1:{home.config.control_port}",
        insecure=False,
        root_certificates=(home.tls / "ca.pem").read_bytes(),
        interceptors=[RuntimeVersionHttpInterceptor(component_name="konsil-server")],
    )
    try:
        yield Control(client)
    finally:
        client.close()


def answers(home: ServerHome) -> bool:
    """Whether the SuperLink is up."""
    try:
        with control(home) as found:
            found.nodes()
    except httpx.HTTPError:
        return False
    return True


def _openssh(pem: bytes) -> bytes:
    """Flower's form of a public key as the roster's."""
    return load_pem_public_key(pem).public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)


def bundle() -> Fab:
    """The Flower bundle of every run. It names the installed apps and holds no code."""
    folder = resources.files("server") / "bundle"
    files = {name: (folder / name).read_bytes() for name in ("pyproject.toml", "README.md")}
    content, _ = build_fab_from_files(files)
    return Fab(hash_str=hashlib.sha256(content).hexdigest(), content=content, verifications={})
