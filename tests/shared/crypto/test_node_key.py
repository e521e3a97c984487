import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from shared.crypto.node_key import checked, generate, public_form
from shared.errors import InputError, PeerError

PRIVATE = generate()
LINE = public_form(PRIVATE)


def test_one_private_key_has_one_public_line() -> None:
    assert public_form(PRIVATE) == LINE == checked(LINE)
    assert public_form(generate()) != LINE


def other_curve() -> str:
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def other_algorithm() -> str:
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


@pytest.mark.parametrize(
    "line",
    ["", "ecdsa-sha2-nistp256 AAAA", LINE + " comment", LINE + "\n", " " + LINE, other_curve(), other_algorithm()],
)
def test_another_spelling_curve_or_algorithm_is_refused(line: str) -> None:
    with pytest.raises(PeerError, match="node key"):
        checked(line)


def test_another_private_key_is_refused() -> None:
    other = ec.generate_private_key(ec.SECP384R1())
    for data in (b"", PRIVATE[:80], other.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())):
        with pytest.raises(InputError, match="Restore it from a backup"):
            public_form(data)


def test_a_compressed_point_is_refused() -> None:
    parts = (b"ecdsa-sha2-nistp256", b"nistp256", b"\x02" + bytes(32))
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    with pytest.raises(PeerError, match="node key"):
        checked(f"ecdsa-sha2-nistp256 {base64.b64encode(blob).decode()}")
