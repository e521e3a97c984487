"""Flower's SuperLink behind Konsil's gate: `python -m server.superlink DIR`.

Guarantees: TLS on every port; hospitals need a registered key; the database survives restarts; what the gate refuses
never reaches Flower.
"""

import logging
import os
import socket
import sys
from pathlib import Path

import uvicorn
from flwr.superlink.auth_plugin import NoOpControlAuthnPlugin
from flwr.superlink.cli.flower_superlink import SuperLinkLifespan
from flwr.superlink.config_loader import SuperLinkLifespanConfig
from flwr.superlink.main import create_app

from server.gate import Gate
from server.home import ServerHome
from shared.console import run_main
from shared.errors import OperatorError

LOOPBACK = "127.0.0.1"


def lifespan_config(home: ServerHome) -> SuperLinkLifespanConfig:
    """Flower's own configuration: what `flower-superlink` would make of its options."""
    tls, config = home.tls, home.config
    ca, certificate, key = (tls / name for name in ("ca.pem", "server.pem", "server.key"))
    return SuperLinkLifespanConfig(
        control_address="",
        health_server_address=None,
        host=LOOPBACK,
        port=config.control_port,
        insecure=False,
        certificates=(ca.read_bytes(), certificate.read_bytes(), key.read_bytes()),
        superexec_auth_secret=None,
        authn_plugin=NoOpControlAuthnPlugin(),
        event_log_plugin=None,
        fleet_event_log_plugin=None,
        enable_event_log=False,
        artifact_provider=None,
        enable_supernode_auth=True,
        fleet_api_type="grpc-rere",
        fleet_api_address=None,
        simulation=False,
        ssl_ca_certfile=str(ca),
        ssl_certfile=str(certificate),
        ssl_keyfile=str(key),
        database=str(home.path / "flower" / "superlink.sqlite"),
        isolation="subprocess",
        runtime_dependency_install=False,
    )


def serve(home: ServerHome) -> None:
    """Serve until SIGTERM."""
    config = home.config
    (home.path / "flower").mkdir(mode=0o700, exist_ok=True)
    logging.getLogger("flwr").setLevel(logging.WARNING)  # it has a line for every call
    os.environ["KONSIL_DIR"] = str(home.path)  # the ServerApp's, which Flower starts from here
    sockets = [listen(config.bind, config.port), listen(LOOPBACK, config.control_port)]
    lifespan = lifespan_config(home)
    app = Gate(create_app(lifespan, SuperLinkLifespan), public_port=config.port)
    settings = uvicorn.Config(
        app,
        ssl_certfile=lifespan.ssl_certfile,
        ssl_keyfile=lifespan.ssl_keyfile,
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,  # else a caller on loopback could say who he is
        http="h11",  # ends a request whose head outgrows 64 KiB; httptools keeps all of it
        ws="none",
        timeout_graceful_shutdown=5,
    )
    uvicorn.Server(settings).run(sockets)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at `host`, an address of this host, IPv4 or IPv6. Raises OperatorError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=256, dualstack_ipv6=host == "::")
    except OSError as error:
        raise OperatorError(
            f"address {host}:{port}",
            expected="one of this host's, and free",
            got=error.strerror or "an error",
            do="Stop what listens there, or change server.toml.",
        ) from None


if __name__ == "__main__":
    run_main("konsil-server superlink", lambda: serve(ServerHome(Path(sys.argv[1]).resolve())))
