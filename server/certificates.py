"""The federation's own certificate authority and the coordinator's certificate (X.509, RFC 5280; EC P-256). No I/O.

Guarantees: the authority may sign servers and nothing below them; the coordinator's certificate holds the host that
hospitals dial, and localhost for the processes beside it; it never outlives its authority. A new certificate for the
same host needs nothing new at a hospital: what it pinned is the authority.

The caller keeps the authority's private key offline and writes every private key with mode 0600.

    >>> from datetime import UTC, datetime
    >>> now = datetime.now(UTC).replace(microsecond=0)
    >>> key, server = new_key(), new_key()
    >>> authority = new_authority(key, now)
    >>> certificate = server_certificate(key, authority, server, host="konsil.example", now=now, days=365)
    >>> belongs(certificate, server), (expiry(certificate) - now).days
    (True, 365)
"""

import ipaddress
import re
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shared.enrolment import HOST
from shared.errors import InputError, OperatorError

AUTHORITY_DAYS = 20 * 365
SERVER_DAYS = 365
#: A hospital's clock may be this far behind ours.
CLOCK_SKEW = timedelta(hours=1)

_LOCAL = ("localhost", "127.0.0.1", "::1")


def new_key() -> bytes:
    """A new EC P-256 private key, PKCS #8 PEM."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def check_host(host: str) -> str:
    """`host`, if it is a DNS name or an IP address that a certificate can hold; else InputError."""
    labels = host.split(".")
    if _address(host) or (re.fullmatch(HOST, host) and all(0 < len(label) <= 63 for label in labels)):
        return host
    raise InputError(
        f"host {host[:80]!r}",
        expected="the DNS name or IP address that hospitals dial",
        do="Give it without scheme, port or path, as konsil.example.org.",
    )


def dialled(host: str, port: int) -> str:
    """host:port, an IPv6 address in brackets (RFC 3986, 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def new_authority(key: bytes, now: datetime) -> bytes:
    """A self-signed authority for `key`, PEM, for twenty years; it signs end entities only (path length 0)."""
    private = _private(key)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Konsil federation authority")])
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    builder = _builder(name, name, private.public_key(), now, now + timedelta(days=AUTHORITY_DAYS))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(usage, critical=True)
    return builder.sign(private, SHA256()).public_bytes(Encoding.PEM)


def server_certificate(
    authority_key: bytes, authority: bytes, server_key: bytes, *, host: str, now: datetime, days: int
) -> bytes:
    """The certificate of `server_key` for `host` and localhost, PEM. Raises OperatorError if the key is another's."""
    issuer = _certificate(authority)
    if not belongs(authority, authority_key):
        raise OperatorError(
            "ca.key", expected="the key of tls/ca.pem", got="another", do="Bring the root folder of this federation."
        )
    private = _private(authority_key)
    until = min(now + timedelta(days=days), issuer.not_valid_after_utc)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Konsil coordinator")])
    names = dict.fromkeys((check_host(host), *_LOCAL))
    builder = _builder(name, issuer.subject, _private(server_key).public_key(), now, until)
    for extension, critical in (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.SubjectAlternativeName([_general(each) for each in names]), False),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(private.public_key()), False),
    ):
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(private, SHA256()).public_bytes(Encoding.PEM)


def belongs(certificate: bytes, key: bytes) -> bool:
    """Whether `certificate` is of the private key `key`."""
    return _spki(_certificate(certificate).public_key()) == _spki(_private(key).public_key())


def expiry(certificate: bytes) -> datetime:
    """The last second of `certificate`, UTC."""
    return _certificate(certificate).not_valid_after_utc.astimezone(UTC)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, now: datetime, until: datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - CLOCK_SKEW).not_valid_after(until)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _general(host: str) -> x509.GeneralName:
    address = _address(host)
    return x509.IPAddress(address) if address else x509.DNSName(host)


def _certificate(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise OperatorError("certificate", expected="PEM", got="other text", do="Restore it from a backup.") from None


def _private(pem: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise OperatorError(
            "TLS key", expected="an EC key in PEM, no passphrase", got="another", do="Restore it from a backup."
        )
    return key


def _spki(key: object) -> bytes:
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return b""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
