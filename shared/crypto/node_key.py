"""The key a hospital's SuperNode shows to the SuperLink: EC P-256, in the OpenSSH forms that Flower reads.

Guarantees: `checked` admits one spelling per key, so equal keys are equal texts; options, comments, other curves and
other algorithms are PeerErrors.

The caller does the I/O: the private form goes to a file of mode 0600 of the network side's own user.

    >>> checked(public_form(generate())).split()[0]
    'ecdsa-sha2-nistp256'
"""

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
    load_ssh_public_key,
)

from shared.errors import InputError, PeerError

#: What the parser raises on bytes that are no key; NotImplementedError: a point it does not decompress.
_UNREADABLE = (ValueError, TypeError, IndexError, OverflowError, NotImplementedError, UnsupportedAlgorithm)


def generate() -> bytes:
    """A new private key, as `ssh-keygen -t ecdsa -b 256` without a passphrase would write it."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def public_form(private: bytes) -> str:
    """The one line others know it by: "ecdsa-sha2-nistp256 AAAA...". Raises InputError for another kind of key."""
    try:
        key = load_ssh_private_key(private, None)
    except _UNREADABLE:
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InputError(
            "node key",
            expected="an EC P-256 key in OpenSSH form, no passphrase",
            got="something else",
            do="Restore it from a backup.",
        )
    return _line(key.public_key())


def checked(line: str) -> str:
    """`line`, if it is the one public form of a P-256 key; else PeerError."""
    try:
        key = load_ssh_public_key(line.encode())
    except _UNREADABLE:
        key = None
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1) and _line(key) == line:
        return line
    raise PeerError("node key", expected="one line ecdsa-sha2-nistp256 without a comment", got="something else")


def _line(key: ec.EllipticCurvePublicKey) -> str:
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
