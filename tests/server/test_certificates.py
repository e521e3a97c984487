import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from server.certificates import (
    AUTHORITY_DAYS,
    belongs,
    check_host,
    dialled,
    expiry,
    new_authority,
    new_key,
    server_certificate,
)
from shared.errors import InputError, OperatorError

NOW = datetime.now(UTC).replace(microsecond=0)
KEY, SERVER = new_key(), new_key()
AUTHORITY = new_authority(KEY, NOW)


def issued(host: str = "konsil.example", days: int = 365) -> bytes:
    return server_certificate(KEY, AUTHORITY, SERVER, host=host, now=NOW, days=days)


def shake_hands(folder: Path, certificate: bytes, *, name: str, trusted: bytes = AUTHORITY) -> None:
    """A TLS handshake in memory, as strict as OpenSSL can be. Raises ssl.SSLError."""
    (folder / "server.pem").write_bytes(certificate)
    (folder / "server.key").write_bytes(SERVER)
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(folder / "server.pem", folder / "server.key")
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    theirs.verify_flags |= ssl.VERIFY_X509_STRICT
    theirs.load_verify_locations(cadata=trusted.decode())
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = ours.wrap_bio(there, back, server_side=True)
    client = theirs.wrap_bio(back, there, server_hostname=name)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert client.getpeercert()


@pytest.mark.parametrize("name", ["konsil.example", "localhost", "127.0.0.1", "::1"])
def test_a_hospital_that_pinned_the_authority_connects(tmp_path: Path, name: str) -> None:
    shake_hands(tmp_path, issued(), name=name)


def test_an_address_may_be_the_host(tmp_path: Path) -> None:
    shake_hands(tmp_path, issued("192.0.2.7"), name="192.0.2.7")


def test_another_host_another_authority_or_a_lapsed_certificate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(tmp_path, issued(), name="other.example")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(tmp_path, issued(), name="konsil.example", trusted=new_authority(new_key(), NOW))
    old = server_certificate(KEY, AUTHORITY, SERVER, host="konsil.example", now=NOW - timedelta(days=9), days=8)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        shake_hands(tmp_path, old, name="konsil.example")


def test_a_server_certificate_signs_nothing(tmp_path: Path) -> None:
    below = server_certificate(SERVER, issued(), SERVER, host="konsil.example", now=NOW, days=1)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(tmp_path, below, name="konsil.example", trusted=issued())


def test_a_renewed_certificate_needs_nothing_new_at_the_hospital(tmp_path: Path) -> None:
    first, second = issued(days=1), issued(days=400)
    assert first != second
    shake_hands(tmp_path, second, name="konsil.example")


def test_it_never_outlives_its_authority() -> None:
    assert expiry(AUTHORITY) == NOW + timedelta(days=AUTHORITY_DAYS)
    assert expiry(issued(days=365)) == NOW + timedelta(days=365)
    assert expiry(issued(days=AUTHORITY_DAYS * 2)) == expiry(AUTHORITY)


def test_another_federations_key_signs_nothing_here() -> None:
    assert belongs(AUTHORITY, KEY)
    assert not belongs(AUTHORITY, SERVER)
    with pytest.raises(OperatorError, match="root folder of this federation"):
        server_certificate(new_key(), AUTHORITY, SERVER, host="konsil.example", now=NOW, days=1)


def test_torn_files_are_named() -> None:
    with pytest.raises(OperatorError, match="certificate"):
        expiry(b"-----BEGIN CERTIFICATE-----\n")
    with pytest.raises(OperatorError, match="TLS key"):
        belongs(AUTHORITY, b"")


@pytest.mark.parametrize("host", ["konsil.example", "KONSIL", "10.0.0.1", "::1", "2001:db8::7", "a" * 63 + ".org"])
def test_hosts(host: str) -> None:
    assert check_host(host) == host


@pytest.mark.parametrize("host", ["a" * 64 + ".org", "x_y", "x.", "[::1]", "x\n", "ä.org", "x/y"])
def test_no_hosts(host: str) -> None:
    with pytest.raises(InputError):
        check_host(host)


def test_an_ipv6_address_is_dialled_in_brackets() -> None:
    assert dialled("2001:db8::7", 9092) == "[2001:db8::7]:9092"
    assert dialled("konsil.example", 9092) == "konsil.example:9092"
