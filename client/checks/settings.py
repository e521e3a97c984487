"""Files that people wrote, keys, and folders."""

import os
import stat
from pathlib import Path

from client.checks.context import Context, present
from shared.accounts import Account, may
from shared.checks import Check, fail, ok
from shared.crypto.identity import KEY_BYTES
from shared.probe import parse_address


def site_settings(context: Context) -> Check:
    """site.toml reads, and names a label file that is there."""
    present(context.home.path / "site.toml", "Run konsil-client join, or set KONSIL_HOME.")
    config = context.home.config
    return ok(f"site {config.name}, device {config.device}, {config.threads} threads")


def policy_settings(context: Context) -> Check:
    """policy.toml reads."""
    present(context.home.path / "policy.toml", "Write one (docs/deploy.md); it decides what a study may do here.")
    policy = context.home.policy
    spends = f"at most ε = {policy.privacy.epsilon_total:g} per patient"
    return ok(f"{spends}, sums over at least {policy.aggregation.min_cohort} hospitals")


def network_settings(context: Context) -> Check:
    """node.toml reads, gives an address, and is this site's."""
    path = present(context.node.path / "node.toml", "Run konsil-client join.")
    config = context.node.config
    parse_address(config.coordinator, f"{path.name}: coordinator")
    if context.home.path.exists() and config.site != context.site.name:
        do = "Join again: the two folders belong to different sites."
        return fail(f"site {config.site}, but site.toml says {context.site.name}", do)
    return ok(f"coordinator {config.coordinator}")


def keys(context: Context) -> Check:
    """The site's keys are whole, the agent's own, and nobody else's to read; the pinned root is there."""
    home = context.home.path
    faults = [
        fault
        for name in ("keys/identity.key", "keys/archive.key")
        if (fault := _key_fault(home / name, context.agent, exact=True))
    ]
    root = present(home / "root.pub", "Run konsil-client join.")
    if root.stat().st_size != KEY_BYTES:
        faults.append(f"root.pub is not {KEY_BYTES} bytes")
    return _keys(faults, f"identity, archive key and federation root, readable by {context.agent.name} only")


def network_key(context: Context) -> Check:
    """The SuperNode's key likewise, for the network side's user."""
    fault = _key_fault(context.node.key, context.network_side, exact=False)
    return _keys([fault] if fault else [], f"readable by {context.network_side.name} only")


def _keys(faults: list[str], good: str) -> Check:
    do = "Restore a lost key from the backup; set owner and mode with chown and chmod 600."
    return fail("; ".join(faults), do) if faults else ok(good)


def _key_fault(path: Path, holder: Account, *, exact: bool) -> str:
    """What is wrong with a key file; empty if nothing is. `exact`: it holds 32 bytes."""
    status = present(path, "Restore it from the backup, or join again as a new site.").stat()
    mode = stat.S_IMODE(status.st_mode)
    if exact and status.st_size != KEY_BYTES:
        return f"{path.name} has {status.st_size} bytes, not {KEY_BYTES}"
    if mode & 0o177:
        return f"{path.name} has mode {mode:04o}, not 0600"
    return "" if status.st_uid == holder.uid else f"{path.name} does not belong to {holder.name}"


def folder(context: Context) -> Check:
    """The agent can write its folder, and nobody else can look inside."""
    return _folder(context.home.path, context.agent)


def network_folder(context: Context) -> Check:
    """The network side likewise."""
    return _folder(context.node.path, context.network_side)


def _folder(path: Path, holder: Account) -> Check:
    fault = _folder_fault(path, holder)
    do = "Set the owner with chown and the mode with chmod 700; check that the file system is not read-only."
    return fail(f"{path} {fault}", do) if fault else ok(f"{path}, writable by {holder.name} only")


def _folder_fault(path: Path, holder: Account) -> str:
    if not path.is_dir():
        return "is not there"
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return f"has mode {mode:04o}, not 0700"
    (writable,) = may(holder, [path], os.R_OK | os.W_OK | os.X_OK)
    return "" if writable else f"not writable by {holder.name}"
