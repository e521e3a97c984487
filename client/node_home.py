"""The network side's folder: what the SuperNode and the relay need, and nothing of the hospital's images or keys.

node.toml · node.key · ca.pem       written by `konsil-client join`; belong to the network side's own user
flower/                             Flower's own files
"""

from dataclasses import dataclass
from pathlib import Path

from shared.toml import read_toml
from shared.wire import Record


class NodeConfig(Record, frozen=True):
    """node.toml: our name, the coordinator's address as host:port, and the agent's socket."""

    site: str
    coordinator: str
    socket: str


@dataclass(frozen=True)
class NodeHome:
    """The folder at `path`; only the network side's user may read it."""

    path: Path

    @property
    def config(self) -> NodeConfig:
        """node.toml."""
        return read_toml(NodeConfig, self.path / "node.toml")

    @property
    def key(self) -> Path:
        """The EC P-256 key this node shows to the SuperLink, in OpenSSH form."""
        return self.path / "node.key"

    @property
    def authority(self) -> Path:
        """The certificate authority that signs the coordinator's certificate, PEM."""
        return self.path / "ca.pem"
