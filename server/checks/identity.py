"""Who the coordinator is: its settings, its certificate, its roster, its keys."""

import ipaddress
import os
import stat
import time
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from server.certificates import belongs
from server.checks.context import Context
from shared.checks import Check, NotCheckedError, fail, graded, ok, warn
from shared.probe import days_left, fingerprint, read_certificate

SOON_DAYS = 30
_RENEW = "Renew it with the root folder at hand: konsil-server renew --root FOLDER."


def settings(context: Context) -> Check:
    """server.toml reads, and its three ports differ."""
    config = context.home.config
    ports = (config.port, config.control_port, config.web_port)
    if len(set(ports)) < len(ports):
        do = "Give port, control_port and web_port three different numbers."
        return fail(f"ports {', '.join(map(str, ports))}", do)
    return ok(f"hospitals dial {config.host}:{config.port}")


def certificate(context: Context) -> Check:
    """The certificate is signed by ca.pem, for the name hospitals dial, and of the key beside it."""
    shown, authority = _certificates(context)
    try:
        shown.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        do = "Restore tls/ from the backup. Never make a new authority: every hospital has pinned this one."
        return fail(f"not signed by tls/ca.pem, authority {fingerprint(authority)}", do)
    if not belongs((context.home.tls / "server.pem").read_bytes(), (context.home.tls / "server.key").read_bytes()):
        return fail("tls/server.key is another certificate's", f"Restore it from the backup. {_RENEW}")
    if context.config.host not in _names(shown):
        found = f"for {', '.join(_names(shown)) or 'no name'}, but hospitals dial {context.config.host}"
        return fail(found, f"Correct host in server.toml. {_RENEW}")
    return ok(f"for {context.config.host}, of authority {fingerprint(authority)}")


def certificate_days(context: Context) -> Check:
    """Neither the certificate nor the authority ends soon."""
    days = [days_left(each) for each in _certificates(context)]
    found = f"certificate {days[0]:.0f} days, authority {days[1]:.0f} days"
    return graded(min(days), warn_at=SOON_DAYS, fail_at=0, found=found, do=_RENEW)


def roster(context: Context) -> Check:
    """The roster is signed by the federation's root and stays valid."""
    signed = context.home.federation.roster
    days = (signed.valid_until - time.time()) / 86400
    found = f"version {signed.version}, {len(signed.entries)} hospitals, {days:.0f} days left"
    do = "Admit a hospital or sign the roster again, with the root key."
    return graded(days, warn_at=SOON_DAYS, fail_at=0, found=found, do=do)


def root_apart(context: Context) -> Check:
    """The keys that make members and certificates are not on this host."""
    online = [name for name in ("root/root.key", "root/ca.key") if (context.home.path / name).exists()]
    if online:
        do = "Move the folder root/ to a medium kept offline; bring it back only to admit, remove and renew."
        return warn(f"{' and '.join(online)} beside the online keys", do)
    return ok("the federation's root is not on this host")


def permissions(context: Context) -> Check:
    """The folder and the keys are their owner's alone."""
    folder = context.home.path
    owner = folder.stat().st_uid
    wanted = {folder: 0o077, folder / "operator.key": 0o177, folder / "tls/server.key": 0o177}
    faults = [
        f"{path}: {fault}" for path, forbidden in wanted.items() if (fault := _mode_fault(path, forbidden, owner))
    ]
    do = "chmod 700 the folder, chmod 600 the keys, chown all to the coordinator's user."
    return fail("; ".join(faults), do) if faults else ok("the owner's alone")


def _mode_fault(path: Path, forbidden: int, owner: int) -> str:
    if not os.path.lexists(path):
        return "is not there"
    status = path.stat()
    mode = stat.S_IMODE(status.st_mode)
    if mode & forbidden:
        return f"mode {mode:04o}"
    return "" if status.st_uid == owner else "another owner than the folder's"


def _certificates(context: Context) -> tuple[x509.Certificate, x509.Certificate]:
    """The coordinator's and the authority's."""
    tls = context.home.tls
    if not tls.is_dir():
        raise NotCheckedError(f"{tls} is not there: finish konsil-server init")
    return read_certificate(tls / "server.pem"), read_certificate(tls / "ca.pem")


def _names(certificate: x509.Certificate) -> list[str]:
    """The DNS names and addresses it is for (RFC 5280 §4.2.1.6)."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses: list[ipaddress.IPv4Address | ipaddress.IPv6Address | ipaddress.IPv4Network | ipaddress.IPv6Network]
    addresses = names.get_values_for_type(x509.IPAddress)
    return [*names.get_values_for_type(x509.DNSName), *map(str, addresses)]
