"""The coordinator's folder. Only its own user may read it; `root/` belongs offline.

server.toml                          written by `konsil-server init`, changed by people
root/root.key · root/ca.key          the federation root and the certificate authority: only to admit, remove and renew
root.pub · operator.key · roster.bin what every hospital pins; what signs studies and models; the roster in force
tls/ca.pem · server.pem · server.key what the SuperLink and the web page show
invites/NAME.invite · NAME.token     what went to a hospital, and the one-time secret kept of it
runs/RUN/ · models/NAME/             one folder per run, one per signed model
history.sqlite · flower/ · web.json  the runs and their events; the SuperLink's database; the page's login
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from server.federation import Federation
from shared.toml import read_toml
from shared.wire import Record

Port = Annotated[int, Meta(ge=1, le=65535)]


class ServerConfig(Record, frozen=True):
    """server.toml. `host`: the name hospitals dial and the certificate holds; `bind`: the address listened on."""

    host: str
    bind: str = "0.0.0.0"  # noqa: S104  hospitals dial in from outside
    #: hospitals dial this one; only Flower's Fleet API answers there
    port: Port = 9092
    #: Flower's Control and Runtime API, on loopback, for this user's processes only
    control_port: Port = 9093
    #: the operator's page, on loopback unless web_bind says otherwise
    web_port: Port = 8443
    web_bind: str = "127.0.0.1"


@dataclass(frozen=True)
class ServerHome:
    """The folder at `path`; every property is a place in it or a file's content."""

    path: Path

    @property
    def config(self) -> ServerConfig:
        """server.toml."""
        return read_toml(ServerConfig, self.path / "server.toml")

    @property
    def federation(self) -> Federation:
        """Keys and roster."""
        return Federation(self.path)

    @property
    def tls(self) -> Path:
        """ca.pem, server.pem, server.key."""
        return self.path / "tls"

    @property
    def runs(self) -> Path:
        """One folder per run."""
        return self.path / "runs"

    @property
    def models(self) -> Path:
        """One folder per signed model."""
        return self.path / "models"

    @property
    def history(self) -> Path:
        """The history's database."""
        return self.path / "history.sqlite"
