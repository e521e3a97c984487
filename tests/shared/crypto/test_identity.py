import pytest

from shared.crypto.identity import KEY_BYTES, SIGNATURE_BYTES, Identity, verify
from shared.errors import InputError, PeerError

IDENTITY = Identity.generate()
SIGNATURE = IDENTITY.sign("konsil/a/v1", b"one", b"two")


def test_a_signature_verifies_under_its_label_and_parts() -> None:
    verify(IDENTITY.public, SIGNATURE, "konsil/a/v1", b"one", b"two")
    assert (len(IDENTITY.public), len(SIGNATURE)) == (KEY_BYTES, SIGNATURE_BYTES)


@pytest.mark.parametrize(
    ("label", "parts"),
    [
        ("konsil/b/v1", (b"one", b"two")),
        ("konsil/a/v1", (b"onet", b"wo")),
        ("konsil/a/v1", (b"two", b"one")),
        ("konsil/a/v1", (b"one",)),
        ("konsil/a/v1", (b"one", b"two", b"")),
        ("konsil/a/v1\0", (b"one", b"two")),
    ],
)
def test_no_other_label_or_split_of_the_parts_verifies(label: str, parts: tuple[bytes, ...]) -> None:
    with pytest.raises(PeerError, match="signature"):
        verify(IDENTITY.public, SIGNATURE, label, *parts)


@pytest.mark.parametrize("public", [Identity.generate().public, b"", bytes(31), bytes(33), b"\xff" * 32])
def test_other_and_malformed_keys_are_refused(public: bytes) -> None:
    with pytest.raises(PeerError):
        verify(public, SIGNATURE, "konsil/a/v1", b"one", b"two")


@pytest.mark.parametrize("signature", [b"", SIGNATURE[:-1], SIGNATURE + b"\0", bytes(64)])
def test_malformed_signatures_are_refused(signature: bytes) -> None:
    with pytest.raises(PeerError):
        verify(IDENTITY.public, signature, "konsil/a/v1", b"one", b"two")


def test_private_bytes_bring_the_identity_back() -> None:
    again = Identity.from_private_bytes(IDENTITY.private_bytes())
    assert again.public == IDENTITY.public
    verify(IDENTITY.public, again.sign("konsil/a/v1"), "konsil/a/v1")
    with pytest.raises(InputError, match="32 bytes"):
        Identity.from_private_bytes(bytes(31))


def test_the_printed_form_holds_no_key() -> None:
    assert IDENTITY.private_bytes().hex() not in repr(IDENTITY)
    assert repr(IDENTITY.private_bytes())[2:-1] not in repr(IDENTITY)
