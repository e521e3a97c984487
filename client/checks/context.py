"""What the checks of a hospital share: its settings, read once, and what the coordinator showed, asked once."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from client.home import Home, SiteConfig
from client.node_home import NodeConfig, NodeHome
from shared.accounts import Account, account, owner
from shared.checks import NotCheckedError
from shared.errors import InputError, KonsilError
from shared.probe import Address, Shown, parse_address, shown_by
from shared.study import Study

T = TypeVar("T")


@dataclass(frozen=True)
class Context:
    """One hospital: `home` and `node` are its two folders; `study`, if given, is what it is to be ready for."""

    home: Home
    node: NodeHome
    study: Study | None = None
    timeout_s: float = 5.0

    @cached_property
    def site(self) -> SiteConfig:
        """site.toml. Raises NotCheckedError where it cannot be used; `site_settings` says why."""
        return needed(lambda: self.home.config, "site.toml cannot be used")

    @cached_property
    def network(self) -> NodeConfig:
        """node.toml, as `site`."""
        return needed(lambda: self.node.config, "node.toml cannot be used")

    @cached_property
    def coordinator(self) -> Address:
        """Where the coordinator is dialled."""
        return needed(lambda: parse_address(self.network.coordinator, "node.toml: coordinator"), "no address")

    @property
    def authority(self) -> Path:
        """The pinned ca.pem."""
        return present(self.node.authority, "Restore it from the backup, or join again.")

    @cached_property
    def shown(self) -> Shown:
        """The certificate the coordinator shows."""
        return needed(
            lambda: shown_by(self.coordinator, self.authority, self.timeout_s),
            "no TLS connection to the coordinator",
        )

    @cached_property
    def verified(self) -> Address:
        """The coordinator's address, once its certificate was found good."""
        if self.shown.problem:
            raise NotCheckedError("the coordinator's certificate was not accepted")
        return self.coordinator

    @cached_property
    def agent(self) -> Account:
        """Who the agent runs as: daemon.agent_user, or the owner of the folder."""
        return account(self.site.daemon.agent_user or owner(self.home.path))

    @cached_property
    def network_side(self) -> Account:
        """Who the network side runs as: the agent's user too, if single_user says so. Where only the network side's
        folder is to be seen (its container), the owner of that."""
        if not self.home.path.exists():
            return account(owner(self.node.path))
        daemon = self.site.daemon
        if daemon.single_user:
            return self.agent
        if not daemon.node_user:
            raise NotCheckedError("daemon.node_user is not set")
        return account(daemon.node_user)

    @cached_property
    def archive(self) -> Path:
        """The archive's folder."""
        return self.home.path / self.site.archive


def needed(read: Callable[[], T], because: str) -> T:
    """What `read` gives; NotCheckedError(because) where it raises: another check tells of it."""
    try:
        return read()
    except NotCheckedError:
        raise
    except (KonsilError, OSError):
        raise NotCheckedError(because) from None


def hidden(path: Path) -> bool:
    """Whether `path` lies in a folder that we may not look into."""
    return path.parent.exists() and not os.access(path.parent, os.X_OK)


def present(path: Path, do: str) -> Path:
    """`path`, or InputError saying what to `do`, or NotCheckedError where we may not look."""
    if hidden(path):
        raise NotCheckedError(f"{path.parent} may not be read by this user; run the doctor as root")
    if not path.exists():
        raise InputError(str(path), expected="a file", got="none", do=do)
    return path
