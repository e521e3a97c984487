import pytest

from shared.crypto.sealing import OVERHEAD, agree, check_public, derive, generate, seal, unseal
from shared.crypto.secret import SecretRecord
from shared.errors import PeerError
from shared.wire import pack, unpack

KEY = bytes(range(32))
FIELD = 2**255 - 19
#: Every low-order point of Curve25519 and its twist, and other encodings of the same (RFC 7748, 6.1;
#: https://cr.yp.to/ecdh.html).
LOW_ORDER = [
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    FIELD - 1,
    FIELD,
    FIELD + 1,
]


def test_both_sides_agree() -> None:
    (private, public), (other, other_public) = generate(), generate()
    assert agree(private, other_public) == agree(other, public)


def test_agreement_is_that_of_rfc_7748() -> None:
    """Section 6.1: Bob's private key, Alice's public key, their shared secret."""
    bob = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    alice = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
    assert agree(bob, alice).hex() == shared


@pytest.mark.parametrize("high_bit", [0, 1 << 255])
@pytest.mark.parametrize("point", LOW_ORDER)
def test_low_order_points_are_refused(point: int, high_bit: int) -> None:
    public = (point | high_bit).to_bytes(32, "little")
    with pytest.raises(PeerError, match="public key of north"):
        agree(generate()[0], public, owner="north")
    with pytest.raises(PeerError, match="public key of north"):
        check_public(public, owner="north")


def test_a_second_encoding_of_a_key_is_refused() -> None:
    """X25519 ignores the highest bit: a peer's key with it set would pass as a different key."""
    _, public = generate()
    twin = public[:31] + bytes([public[31] | 0x80])
    check_public(public, owner="north")
    with pytest.raises(PeerError, match="canonical"):
        check_public(twin, owner="north")


@pytest.mark.parametrize("length", [0, 31, 33])
def test_keys_of_another_length_are_refused(length: int) -> None:
    with pytest.raises(PeerError, match=f"{length} bytes"):
        agree(KEY, bytes(length))


def test_derivation_separates_salt_label_and_parts() -> None:
    uses = [
        (KEY, KEY, "konsil/a/v1", ("x", "y")),
        (KEY[::-1], KEY, "konsil/a/v1", ("x", "y")),
        (KEY, KEY[::-1], "konsil/a/v1", ("x", "y")),
        (KEY, KEY, "konsil/b/v1", ("x", "y")),
        (KEY, KEY, "konsil/a/v1", ("y", "x")),
        (KEY, KEY, "konsil/a/v1", ("xy", "")),
        (KEY, KEY, "konsil/a/v1", ("xy",)),
    ]
    keys = {derive(secret, salt=salt, label=label, parts=parts) for secret, salt, label, parts in uses}
    assert len(keys) == len(uses)
    assert {len(key) for key in keys} == {32}


def test_a_bundle_opens_under_its_key_and_data_only() -> None:
    sealed = seal(KEY, b"shares", b"plan")
    assert len(sealed) == len(b"shares") + OVERHEAD
    assert unseal(KEY, sealed, b"plan") == b"shares"
    for key, associated in ((KEY[::-1], b"plan"), (KEY, b"another plan")):
        with pytest.raises(PeerError, match="wrong tag"):
            unseal(key, sealed, associated)


def test_every_changed_byte_and_length_is_found() -> None:
    sealed = seal(KEY, b"shares", b"plan")
    changed = [sealed[:k] + bytes([sealed[k] ^ 1]) + sealed[k + 1 :] for k in range(len(sealed))]
    for bad in (*changed, sealed[:-1], sealed + b"\0", b"", sealed[: OVERHEAD - 1]):
        with pytest.raises(PeerError, match="bundle from north"):
            unseal(KEY, bad, b"plan", what="bundle from north")


def test_sealing_twice_gives_different_bytes() -> None:
    assert seal(KEY, b"shares", b"") != seal(KEY, b"shares", b"")


class Key(SecretRecord, frozen=True):
    private: bytes


def test_secret_records_store_and_hide() -> None:
    key = Key(private=b"hidden")
    assert unpack(Key, pack(key)) == key
    assert "hidden" not in f"{key!r} {key} {key.__rich_repr__()}"
