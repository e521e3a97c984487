import pytest
from msgspec.structs import replace

from shared.crypto.identity import Identity
from shared.errors import PeerError
from shared.secagg.joining import JOIN_LABEL, JoinRecord, check_join, join, new_run_key
from shared.secagg.rehearsal import STUDY_HASH, Federation
from shared.wire import pack, unpack

FEDERATION = Federation.of(2)
A, B = FEDERATION.hospitals


def check(record: JoinRecord) -> None:
    roster_hash = FEDERATION.signed.digest()
    check_join(record, FEDERATION.roster, run="rehearsal", study_hash=STUDY_HASH, roster_hash=roster_hash)


def signed_by_a(public_key: bytes) -> JoinRecord:
    """A's identity signs whatever key: a hostile site."""
    parts = (A.join.run.encode(), STUDY_HASH, A.join.roster_hash, b"a", public_key)
    return replace(A.join, public_key=public_key, signature=A.identity.sign(JOIN_LABEL, *parts))


def test_a_join_record_survives_the_wire_and_checks() -> None:
    check(unpack(JoinRecord, pack(A.join)))


@pytest.mark.parametrize(
    "change",
    [
        {"run": "another"},
        {"study_hash": bytes([1] * 32)},
        {"roster_hash": bytes(32)},
        {"site": "b"},
        {"public_key": B.join.public_key},
        {"signature": bytes(64)},
        {"signature": B.join.signature},
    ],
)
def test_any_changed_field_is_refused(change: dict[str, str | bytes]) -> None:
    with pytest.raises(PeerError):
        check(replace(A.join, **change))


def test_a_record_of_another_run_is_refused_though_signed() -> None:
    other = join(A.run_key, A.identity, site="a", run="other", study_hash=STUDY_HASH, roster_hash=A.join.roster_hash)
    with pytest.raises(PeerError, match="'rehearsal'"):
        check(other)


def test_an_unknown_site_is_refused() -> None:
    record = join(
        new_run_key(),
        Identity.generate(),
        site="stranger",
        run="rehearsal",
        study_hash=STUDY_HASH,
        roster_hash=A.join.roster_hash,
    )
    with pytest.raises(PeerError, match="unknown name"):
        check(record)


@pytest.mark.parametrize("public_key", [bytes(32), b"\x01" + bytes(31), b"\xff" * 32])
def test_a_signed_low_order_or_second_encoding_is_refused(public_key: bytes) -> None:
    with pytest.raises(PeerError, match="public key of a"):
        check(signed_by_a(public_key))


def test_the_run_key_does_not_print() -> None:
    assert repr(A.run_key) == "RunKey(...)"
