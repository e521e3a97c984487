"""Accounts of this host, and what they may do with files.

`may` really tries: as root, a child process takes on the account's user and groups and asks the kernel; as the account
itself, we ask directly. Anybody else can only judge by the modes, which knows no access lists.
"""

import os
import pwd
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.errors import SiteError


@dataclass(frozen=True)
class Account:
    """A user of this host with all its groups, the primary one first."""

    name: str
    uid: int
    groups: tuple[int, ...]


def account(name: str) -> Account:
    """The account called `name`, or of that number, which need not be in the user database. Raises SiteError."""
    try:
        entry = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
    except KeyError:
        if name.isdigit():
            return Account(name, int(name), (int(name),))
        raise SiteError(
            f"user {name!r}", expected="a user of this host", got="none of that name", do="Create it (docs/deploy.md)."
        ) from None
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    return Account(entry.pw_name, entry.pw_uid, (entry.pw_gid, *(g for g in groups if g != entry.pw_gid)))


def may(who: Account, paths: Sequence[Path], mode: int) -> tuple[bool, ...]:
    """Whether `who` has `mode` (os.R_OK, W_OK, X_OK) on each of `paths`, the way there included."""
    if who.uid == os.geteuid():
        return tuple(os.access(path, mode) for path in paths)
    if os.geteuid() == 0:
        return _ask_kernel(who, paths, mode)
    return tuple(_by_modes(who, path, mode) for path in paths)


def _ask_kernel(who: Account, paths: Sequence[Path], mode: int) -> tuple[bool, ...]:
    """In a child with the account's user and groups: one byte per path through a pipe."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # nothing but system calls until _exit
        try:
            os.setgroups(list(who.groups))
            os.setgid(who.groups[0])
            os.setuid(who.uid)
            os.write(writing, bytes(os.access(path, mode) for path in paths))
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answers = pipe.read()
    os.waitpid(child, 0)
    if len(answers) != len(paths):
        raise SiteError(f"becoming user {who.name}", expected="permission", got="none", do="Run the doctor as root.")
    return tuple(map(bool, answers))


def _by_modes(who: Account, path: Path, mode: int) -> bool:
    try:
        way = all(_allows(who, folder.stat(), os.X_OK) for folder in path.resolve().parents)
        return way and _allows(who, path.stat(), mode)
    except PermissionError:  # hidden from us: its folder's mode was judged above only as far as we can see
        return False
    except OSError:
        return False


def _allows(who: Account, status: os.stat_result, mode: int) -> bool:
    permissions = stat.S_IMODE(status.st_mode)
    if status.st_uid == who.uid:
        return (permissions >> 6) & mode == mode
    if status.st_gid in who.groups:
        return (permissions >> 3) & mode == mode
    return permissions & mode == mode


def owner(path: Path) -> str:
    """The name of the owner of `path`, or its number."""
    uid = path.stat().st_uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
