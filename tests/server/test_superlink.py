import socket
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from server.commands.federation import init
from server.gate import Gate
from server.home import ServerHome
from server.superlink import lifespan_config, listen, serve
from shared.errors import OperatorError
from simulations.processes import free_ports


@pytest.fixture
def home(tmp_path: Path) -> ServerHome:
    port, control, web = free_ports(3)
    init(tmp_path / "fed", "localhost", bind="127.0.0.1", port=port, control_port=control, web_port=web)
    return ServerHome(tmp_path / "fed")


def test_flower_is_told_to_check_nodes_and_to_install_nothing(home: ServerHome) -> None:
    config = lifespan_config(home)
    assert (config.enable_supernode_auth, config.insecure, config.simulation) == (True, False, False)
    assert (config.runtime_dependency_install, config.enable_event_log) == (False, False)
    assert config.database == str(home.path / "flower" / "superlink.sqlite")


@pytest.mark.filterwarnings("ignore:No path_separator found:DeprecationWarning")  # Flower's database
def test_what_uvicorn_is_told(home: ServerHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who calls is the kernel's to say, no header's; requests have a head of 64 KiB at most; TLS on every port."""
    seen: list[Any] = []
    monkeypatch.setenv("KONSIL_DIR", "")  # put back afterwards
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: seen.extend([self.config, sockets]))
    serve(home)
    config, sockets = seen
    assert isinstance(config.app, Gate)
    assert (config.proxy_headers, config.http, config.ws, config.server_header) == (False, "h11", "none", False)
    assert (config.ssl_certfile, config.ssl_keyfile) == (str(home.tls / "server.pem"), str(home.tls / "server.key"))
    addresses = [found.getsockname() for found in sockets]
    assert addresses == [("127.0.0.1", home.config.port), ("127.0.0.1", home.config.control_port)]
    for found in sockets:
        found.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::"])  # noqa: S104
def test_listening(host: str) -> None:
    with listen(host, 0) as found:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        assert found.family == family
        targets = {"0.0.0.0": ["127.0.0.1"], "::": ["::1", "127.0.0.1"]}.get(host, [host])  # noqa: S104
        for target in targets:
            socket.create_connection((target, found.getsockname()[1])).close()


def test_a_taken_port_and_an_address_of_another_host_are_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OperatorError, match=f"address 127.0.0.1:{port}: expected one of this host's, and free"):
            listen("127.0.0.1", port)
    with pytest.raises(OperatorError, match=r"192\.0\.2\.1:9"):
        listen("192.0.2.1", 9)
