"""A hospital's Konsil folder: configuration, keys, ledger, rounds, catalog, cache. Only the daemon's user may read it.

site.toml · policy.toml · root.pub        written by people
keys/identity.key · keys/archive.key      made here, never leave
keys/identity.key.next                    made by `konsil-client rotate`, in use once a roster lists it
NAME.request                              what this hospital last asked the consortium to list; holds nothing secret
ledger.sqlite · rounds.sqlite · audit.jsonl · archive/ (catalog and cache) · kept/ (between rounds of a run)
starts/                                   weights that studies begin with, each under its SHA-256 (client/starts.py)
"""

import fcntl
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from client.policy import Policy, read_policy
from shared.crypto.identity import KEY_BYTES, Identity
from shared.errors import InputError, SiteError
from shared.files import sync_folder, write_atomically
from shared.toml import read_toml
from shared.wire import Record

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
#: more than any version has
_VERSION_DIGITS = 20


class DaemonConfig(Record, frozen=True):
    """Who may speak to the agent: the network side runs as `node_user`, a user of its own that reads nothing here.

    `single_user = true` lets both sides run as one user: then nothing but the socket's rules stands between a broken
    SuperNode and the archive.
    """

    agent_user: str = ""
    node_user: str = ""
    single_user: bool = False


class SiteConfig(Record, frozen=True):
    """site.toml: who we are, where the images and labels are, what training may use, who may speak to the agent."""

    name: str
    archive: str
    labels: str
    threads: Annotated[int, Meta(ge=1)] = 1
    #: most that decoded images of all studies may take on disk; without it, all the disk has
    cache_gib: Annotated[float, Meta(gt=0, le=1e6)] | None = None
    #: most that algorithms may keep between rounds, of all runs
    kept_gib: Annotated[float, Meta(gt=0, le=1e6)] = 4.0
    device: Literal["cpu", "cuda"] = "cpu"
    daemon: DaemonConfig = DaemonConfig()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError("a site name of lower-case letters, digits, '.', '_' and '-'")


@dataclass(frozen=True)
class Home:
    """The folder at `path`; every property is a place in it or a file's content."""

    path: Path

    @property
    def config(self) -> SiteConfig:
        """site.toml."""
        return read_toml(SiteConfig, self.path / "site.toml")

    @property
    def policy(self) -> Policy:
        """policy.toml."""
        return read_policy(self.path / "policy.toml")

    @property
    def archive(self) -> Path:
        """The DICOM archive's folder; a relative path counts from this home."""
        return self.path / self.config.archive

    @property
    def labels(self) -> Path:
        """The label file; a relative path counts from this home."""
        return self.path / self.config.labels

    @property
    def root_public(self) -> bytes:
        """The pinned federation root, 32 bytes."""
        return self._secret("root.pub")

    @property
    def identity(self) -> Identity:
        """This site's Ed25519 identity."""
        return Identity.from_private_bytes(self._secret("keys/identity.key"))

    def adopt_identity(self, public: bytes) -> bool:
        """Put keys/identity.key.next in force if its public half is `public`; whether it did.

        For the caller who opened a roster of the pinned root that lists `public` for this site. The old key is gone
        then; read `identity` anew.
        """
        coming = self.path / "keys" / "identity.key.next"
        if not coming.is_file() or Identity.from_private_bytes(self._secret("keys/identity.key.next")).public != public:
            return False
        coming.replace(self.path / "keys" / "identity.key")
        sync_folder(self.path / "keys")
        return True

    @property
    def archive_key(self) -> bytes:
        """32 bytes that key patient hashes and splits."""
        return self._secret("keys/archive.key")

    @property
    def last_roster(self) -> int:
        """Version of the newest roster seen; 0 before the first."""
        path = self.path / "roster.version"
        text = path.read_bytes() if path.exists() else b"0"
        if not text.isdigit() or len(text) > _VERSION_DIGITS:
            raise SiteError(
                "roster.version",
                expected="the number of the newest roster seen",
                got="something else",
                do="Restore it from a backup, or delete it: roster.bin holds the roster itself.",
            )
        return int(text)

    def remember_roster(self, version: int) -> None:
        """Never accept an older roster than `version` again."""
        with (self.path / "roster.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if version > self.last_roster:
                write_atomically(self.path / "roster.version", str(version).encode(), mode=0o600)

    def _secret(self, name: str) -> bytes:
        path = self.path / name
        data = path.read_bytes() if path.exists() else b""
        if len(data) != KEY_BYTES:
            raise InputError(str(path), expected="32 bytes", got=f"{len(data)}", do="Restore it from a backup.")
        return data


def make_keys(path: Path) -> bytes:
    """Identity and archive keys under `path`/keys unless they are there; returns the public identity, 32 bytes."""
    _make(path, "archive.key", secrets.token_bytes(KEY_BYTES))
    return _make(path, "identity.key", Identity.generate().private_bytes())


def make_next_identity(path: Path) -> Identity:
    """The identity to come, in `path`/keys/identity.key.next; the one waiting there if it is."""
    _make(path, "identity.key.next", Identity.generate().private_bytes())
    return Identity.from_private_bytes((path / "keys" / "identity.key.next").read_bytes())


def _make(path: Path, name: str, made: bytes) -> bytes:
    """`made` as `path`/keys/`name` unless it is there; the public identity of what is there."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    keys = path / "keys"
    keys.mkdir(exist_ok=True)
    keys.chmod(0o700)
    if not (keys / name).exists():
        write_atomically(keys / name, made, mode=0o600)
    return Identity.from_private_bytes((keys / name).read_bytes()).public
