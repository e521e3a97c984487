"""Tell the coordinator that this node's last SuperNode is gone, so that the next one is let in at once.

A SuperNode that was killed has said no goodbye, and Flower refuses a second one with the same key until the first has
missed its heartbeats: a minute in which the hospital is out. The node's number is kept for that goodbye.
"""

import threading
from contextlib import suppress

import httpx
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.proto.fleet_pb2 import DeactivateNodeRequest
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from client.node_home import NodeHome
from shared.crypto.node_key import public_form
from shared.errors import InputError
from shared.files import write_atomically
from shared.journal import tell

#: of the largest number that Flower gives a node: 64 bits
_DIGITS = 20


def remember(home: NodeHome, number: str) -> None:
    """Keep the number the coordinator knows this node by."""
    write_atomically(home.path / "node.number", number.encode("ascii"), mode=0o600)


def known_number(home: NodeHome) -> int | None:
    """The number kept by `remember`; None where there is none, or a damaged one: then nobody says goodbye."""
    path = home.path / "node.number"
    text = path.read_bytes() if path.exists() else b""
    return int(text) if text.isdigit() and len(text) <= _DIGITS else None


def leave(home: NodeHome) -> None:
    """Say goodbye for the SuperNode that is gone; a coordinator that does not listen is told by its heartbeats."""
    number = known_number(home)
    if number is None:
        return
    private = home.key.read_bytes()
    public_form(private)  # raises InputError for another kind of key
    key = load_ssh_private_key(private, None)
    if not isinstance(key, EllipticCurvePrivateKey):
        raise InputError(str(home.key), expected="an EC key", got="another kind", do="Join again.")
    signed = NodeAuthHttpInterceptor(key, key.public_key())
    version = RuntimeVersionHttpInterceptor(component_name="SuperNode")
    with (
        suppress(httpx.HTTPError, RuntimeError),
        FleetHttpClient.from_server_address(
            home.config.coordinator, False, home.authority.read_bytes(), interceptors=[version, signed]
        ) as client,
    ):
        client.DeactivateNode(DeactivateNodeRequest(node_id=number))
        tell("said goodbye for a lost supernode", node=str(number))


def leave_when(refused: threading.Event, home: NodeHome, stop: threading.Event) -> None:
    """Say goodbye each time a SuperNode was not let in, until `stop` is set."""
    while not stop.is_set():
        if refused.wait(0.5):
            refused.clear()
            leave(home)
