"""The way to the coordinator: name, port, certificate, clock, speed."""

import socket
import ssl

from client.checks.context import Context
from shared.checks import Check, fail, graded, ok, warn
from shared.network_size import bytes_per_round
from shared.probe import (
    EXPIRED,
    NOT_YET,
    WRONG_ADDRESS,
    WRONG_NAME,
    days_left,
    fingerprint,
    read_certificate,
    seconds_ahead,
    shown_by,
    upload_bytes_per_s,
)

#: Days before the end of a certificate from which to warn.
SOON_DAYS = 30
#: Seconds of clock difference.
CLOCK_WARN_S, CLOCK_FAIL_S = 30, 300


def name_resolves(context: Context) -> Check:
    """The coordinator's name has an address."""
    host = context.coordinator.host
    try:
        found = {
            str(info[4][0]) for info in socket.getaddrinfo(host, context.coordinator.port, type=socket.SOCK_STREAM)
        }
    except OSError as error:
        do = "Check the name in node.toml against the invitation, and this host's DNS."
        return fail(f"{host} does not resolve: {error.strerror}", do)
    return ok(f"{host} is {', '.join(sorted(found))}")


def port_reachable(context: Context) -> Check:
    """A TCP connection to the coordinator's port opens in time."""
    host, port = context.coordinator.host, context.coordinator.port
    try:
        socket.create_connection((host, port), timeout=context.timeout_s).close()
    except OSError as error:
        why = "no answer" if isinstance(error, TimeoutError) else error.strerror or type(error).__name__
        do = f"Allow outgoing TCP to {host}:{port} in the firewall; ask the operator whether the coordinator runs."
        return fail(f"{host}:{port}: {why}", do)
    return ok(f"{host}:{port} is reachable")


def certificate(context: Context) -> Check:
    """The coordinator shows a certificate for its name, signed by the authority pinned in ca.pem."""
    authority = read_certificate(context.authority)
    pinned = f"authority {fingerprint(authority)}"
    try:
        shown = shown_by(context.coordinator, context.authority, context.timeout_s)
    except (ssl.SSLError, OSError) as error:
        why = "no answer" if isinstance(error, TimeoutError) else getattr(error, "reason", "") or error.strerror
        do = "Check that node.toml names the port for hospitals, and that no proxy stands between."
        return fail(f"no TLS there: {why or type(error).__name__}", do)
    serial = f"serial {shown.certificate.serial_number:x}"
    if not shown.problem:
        return ok(f"{serial} of {pinned}")
    found, do = _problem(context, shown.problem, shown.reason)
    return fail(f"{found} ({serial}, issued by {_issuer(context)}; pinned {pinned})", do)


def _problem(context: Context, problem: int, reason: str) -> tuple[str, str]:
    """What OpenSSL's verdict means, and what to do."""
    if problem == EXPIRED:
        return "expired", "Ask the operator to renew it; check this host's clock."
    if problem == NOT_YET:
        return "not valid yet", "Check this host's clock."
    if problem in (WRONG_NAME, WRONG_ADDRESS):
        do = "Dial the name the invitation gives (node.toml: coordinator)."
        return f"it is not for {context.coordinator.host}", do
    do = (
        "It is another federation's, or was made anew, or a proxy breaks TLS. Compare the authority's fingerprint "
        "with the operator by telephone; never replace ca.pem otherwise."
    )
    return f"not signed by the pinned authority: {reason}", do


def _issuer(context: Context) -> str:
    name = context.shown.certificate.issuer.rfc4514_string()
    return name if name.isprintable() else "an unprintable name"


def certificate_days(context: Context) -> Check:
    """Neither the coordinator's certificate nor the pinned authority ends soon."""
    days = {
        "coordinator's": days_left(context.shown.certificate),
        "authority's": days_left(read_certificate(context.authority)),
    }
    found = ", ".join(f"{name} {value:.0f} days" for name, value in days.items())
    do = "Ask the operator to renew it."
    return graded(min(days.values()), warn_at=SOON_DAYS, fail_at=0, found=found, do=do)


def clock(context: Context) -> Check:
    """This host and the coordinator agree on the time."""
    ahead = seconds_ahead(context.verified, context.authority, context.timeout_s)
    found = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the coordinator"
    do = "Start time synchronisation here (chrony, systemd-timesyncd); ask the operator to check theirs."
    return graded(abs(ahead), warn_at=CLOCK_WARN_S, fail_at=CLOCK_FAIL_S, found=found, do=do)


def link_speed(context: Context) -> Check:
    """Bytes go out fast enough for the study's rounds: judged as if both ways were as fast as the way out."""
    speed = upload_bytes_per_s(context.verified, context.authority, context.timeout_s)
    if speed is None:
        return warn("the coordinator took too few bytes to measure", "Try again later.")
    found = f"{speed / 1e6:.2f} MB/s to the coordinator"
    if context.study is None:
        return ok(f"{found} (name a study with --study to compare)")
    needed, timeout = bytes_per_round(context.study), context.study.federation.timeout_s
    seconds = needed / speed
    found += f"; a round's {needed / 1e6:.1f} MB take {seconds:.0f} s of the {timeout:.0f} s a step may last"
    do = "Get a faster line, or ask the operator for a longer timeout_s or a smaller model."
    return graded(seconds, warn_at=timeout / 4, fail_at=timeout, found=found, do=do)
