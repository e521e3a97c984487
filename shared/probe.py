"""What answers at a TLS address: its certificate, its clock, and how fast it takes bytes.

Guarantees: bounded in time and bytes; sends nothing but a GET of `/` and, for the speed, a POST of zeros that no server
has a use for. Certificates are verified against one pinned authority and the dialled name; where that fails the reason
is told, and the certificate shown is fetched once more, unverified, to say what it is: nothing is sent on that line.
"""

import email.utils
import fcntl
import socket
import ssl
import struct
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from shared.errors import InputError, OperatorError

#: Bytes and seconds that a speed measurement takes at most, and the fewest bytes that make one.
PROBE_BYTES, PROBE_S, ENOUGH_BYTES = 2 << 20, 8.0, 128 << 10
#: Seconds without a byte acknowledged after which no more will be.
STALLED_S = 2.0
#: X509_V_ERR of OpenSSL (x509_vfy.h): not yet valid, expired, host name, IP address
NOT_YET, EXPIRED, WRONG_NAME, WRONG_ADDRESS = 9, 10, 62, 64


@dataclass(frozen=True)
class Address:
    """A host and port to dial."""

    host: str
    port: int


@dataclass(frozen=True)
class Shown:
    """The certificate shown, and OpenSSL's verdict: `problem` 0 is none; `reason` its words."""

    certificate: x509.Certificate
    problem: int = 0
    reason: str = ""


def parse_address(text: str, source: str) -> Address:
    """`host:port`. Raises InputError naming `source`."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise InputError(source, expected="host:port", got=repr(text), do="Correct it; the invitation names it.")
    return Address(host.strip("[]"), int(port))


def read_certificate(path: Path) -> x509.Certificate:
    """The first certificate of a PEM file. Raises InputError."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError, x509.InvalidVersion) as error:
        got = getattr(error, "strerror", None) or "something else"
        raise InputError(str(path), expected="a certificate in PEM", got=got, do="Restore it or join again.") from None


def fingerprint(certificate: x509.Certificate) -> str:
    """The start of the SHA-256 of the certificate, as people read it out to each other: 16 hex digits."""
    return certificate.fingerprint(hashes.SHA256()).hex(":", 2)[:19]


def days_left(certificate: x509.Certificate, now: datetime | None = None) -> float:
    """Days until it expires; negative after."""
    return (certificate.not_valid_after_utc - (now or datetime.now(UTC))).total_seconds() / 86400


def shown_by(address: Address, authority: Path, timeout_s: float, name: str = "") -> Shown:
    """The certificate at `address`, verified for `name` (its host, if empty) against `authority`. Raises OSError for
    a connection that fails, SSLError for a peer that speaks no TLS."""
    try:
        with _dial(address, _context(authority), timeout_s, name) as connection:
            return Shown(_certificate(connection))
    except ssl.SSLCertVerificationError as error:
        problem, reason = error.verify_code, error.verify_message
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    with _dial(address, unverified, timeout_s, name) as connection:
        return Shown(_certificate(connection), problem, reason)


def seconds_ahead(address: Address, authority: Path, timeout_s: float) -> float:
    """How far this host's clock is ahead of the Date header (RFC 9110 §6.6.1) there, in seconds; exact to about one.

    Raises OperatorError without a header.
    """
    with _dial(address, _context(authority), timeout_s) as connection:
        sent = time.time()
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {address.host}\r\nConnection: close\r\n\r\n".encode())
        head = _head(connection)
        here = (sent + time.time()) / 2
    date = next((line[5:] for line in head.split("\r\n") if line.lower().startswith("date:")), "")
    try:
        there = email.utils.parsedate_to_datetime(date.strip()).timestamp()
    except (ValueError, TypeError, OverflowError):
        do = "Check that the port is the one hospitals dial."
        where = f"{address.host}:{address.port}"
        raise OperatorError(where, expected="an HTTP Date header", got="none", do=do) from None
    # the header counts whole seconds: on average half a second has passed since
    return here - there - 0.5


def upload_bytes_per_s(address: Address, authority: Path, timeout_s: float) -> float | None:
    """Bytes per second from here to there, or None where too few were taken to tell.

    What counts is what the other end's kernel has acknowledged (SIOCOUTQ, tcp(7)): neither our own buffers nor what the
    server makes of the request. The start-up of TCP is included, so a long line is judged a little too slow.
    """
    with _dial(address, _context(authority), timeout_s) as connection:
        head = f"POST /konsil-doctor HTTP/1.1\r\nHost: {address.host}\r\nContent-Length: {PROBE_BYTES}\r\n\r\n"
        connection.sendall(head.encode())
        start = time.perf_counter()
        taken, seconds = 0, 0.0
        for acknowledged in _send_zeros(connection):
            elapsed = time.perf_counter() - start
            if acknowledged > taken:
                taken, seconds = acknowledged, elapsed
            if elapsed > PROBE_S or elapsed > seconds + STALLED_S:
                break
    return taken / max(seconds, 1e-6) if taken >= ENOUGH_BYTES else None


def _send_zeros(connection: ssl.SSLSocket) -> Iterator[int]:
    """Send PROBE_BYTES, yielding how many were acknowledged so far; ends early where the other end hangs up."""
    block, sent = bytes(32 << 10), 0
    connection.settimeout(1.0)
    try:
        while sent < PROBE_BYTES:
            connection.sendall(block)
            sent += len(block)
            yield max(0, sent - _unacknowledged(connection))
        while waiting := _unacknowledged(connection):
            if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                return
            yield max(0, sent - waiting)
            time.sleep(0.001)
        yield sent
    except OSError:  # it answered and closed, or it stopped reading: what was taken until then counts
        return


def _unacknowledged(connection: ssl.SSLSocket) -> int:
    return int(struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)))[0])


def _head(connection: ssl.SSLSocket) -> str:
    data = b""
    while b"\r\n\r\n" not in data and len(data) < 65536:
        piece = connection.recv(4096)
        if not piece:
            break
        data += piece
    return data.decode("latin-1")


def _context(authority: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(authority))
    except (OSError, ssl.SSLError) as error:
        got = error.strerror or type(error).__name__
        raise InputError(
            str(authority), expected="certificates in PEM", got=got, do="Restore it or join again."
        ) from None


def _certificate(connection: ssl.SSLSocket) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(connection.getpeercert(binary_form=True) or b"")
    except (ValueError, x509.InvalidVersion) as error:
        raise ssl.SSLError(f"a certificate that cannot be read: {error}") from None


@contextmanager
def _dial(address: Address, context: ssl.SSLContext, timeout_s: float, name: str = "") -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection((address.host, address.port), timeout=timeout_s) as plain,
        context.wrap_socket(plain, server_hostname=name or address.host) as connection,
    ):
        yield connection
