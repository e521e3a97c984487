"""What join and rotate share: the request on disk, the node key, and files given to the users they belong to.

Guarantees: a key that is there is never replaced; a folder that holds other people's files is never taken over; what
root hands to a user is what root made, never what a link points at.
"""

import os
import stat
from pathlib import Path

from client.home import Home
from client.node_home import NodeHome
from shared.accounts import account
from shared.crypto.node_key import generate, public_form
from shared.enrolment import Request, fingerprint_of, read_request, to_text
from shared.errors import InputError
from shared.files import write_atomically

#: What marks a folder as a hospital's or as its network side's.
HOME_MARKS = ("keys", "site.toml", "policy.toml", "root.pub")
NODE_MARKS = ("node.key", "node.toml", "ca.pem")

_COMMENT = """\
Konsil: a hospital's request to be listed. Nothing in it is secret; every change in it is found.
The consortium runs: konsil-server admit THIS-FILE
Fingerprint, to compare by telephone: {digits}"""


def request_path(home: Home) -> Path:
    """Where the request to the consortium is."""
    return home.path / f"{home.config.name}.request"


def last_request(home: Home) -> Request:
    """What this hospital last asked for. Raises InputError where it has not joined."""
    path = request_path(home)
    if not path.is_file():
        raise InputError(str(path), expected="the request that join wrote", got="no such file", do="Join first.")
    return read_request(path.read_bytes(), path.name)


def write_request(home: Home, request: Request) -> Path:
    """`request` as the last one, with its fingerprint above it; its path."""
    path = request_path(home)
    write_atomically(path, to_text(request, _COMMENT.format(digits=fingerprint_of(request))).encode())
    return path


def node_key_at(path: Path) -> str:
    """The public form of the node key at `path`, made if it is not there."""
    if path.is_symlink():
        raise InputError(str(path), expected="a file", got="a link", do="Remove it.")
    if not path.exists():
        write_atomically(path, generate(), mode=0o600)
    return public_form(path.read_bytes())


def check_folder(path: Path, marks: tuple[str, ...]) -> None:
    """Raise InputError unless `path` is new, empty, or one that holds a file of `marks` already."""
    if path.exists() and not path.is_dir():
        raise InputError(str(path), expected="a folder", got="a file", do="Choose another.")
    if path.is_dir() and any(path.iterdir()) and not any((path / mark).exists() for mark in marks):
        raise InputError(str(path), expected="a new or empty folder", got="other files", do="Choose another.")


def hand_over(home: Home, node: NodeHome, *folders: Path) -> None:
    """Started by root: what was written, to the users that site.toml names; `folders` to the agent's."""
    daemon = home.config.daemon
    if os.geteuid() != 0 or daemon.single_user or not (daemon.agent_user and daemon.node_user):
        return
    names = ("site.toml", "policy.toml", "root.pub", request_path(home).name, "keys")
    mine = [*(home.path / name for name in names), *(home.path / "keys").iterdir(), home.path, *folders]
    theirs = [node.path / name for name in ("node.toml", "node.key", "node.key.next", "ca.pem")]
    for user, paths in ((daemon.agent_user, mine), (daemon.node_user, [*theirs, node.path])):
        owner = account(user)
        for path in paths:
            _give(path, owner.uid, owner.groups[0])


def _give(path: Path, user: int, group: int) -> None:
    """Only what root made: a link, or a file that has a second name, may be somebody's trap."""
    if not path.is_symlink() and path.exists():
        status = path.stat(follow_symlinks=False)
        if status.st_uid == 0 and (stat.S_ISDIR(status.st_mode) or status.st_nlink == 1):
            os.chown(path, user, group, follow_symlinks=False)
