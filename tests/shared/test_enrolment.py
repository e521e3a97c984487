from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from shared.crypto import node_key
from shared.crypto.identity import Identity
from shared.enrolment import (
    LIMIT,
    Invite,
    JoinRequest,
    RotationRequest,
    check_name,
    fingerprint,
    fingerprint_of,
    join_request,
    quoted,
    read_invite,
    read_request,
    rotation_request,
    same_fingerprint,
    to_text,
    utc,
    verify_join,
    verify_rotation,
)
from shared.errors import InputError, KonsilError, PeerError
from shared.toml import parse_toml
from shared.wire import Record

TOKEN = b"t" * 32
INVITE = Invite(
    name="north",
    coordinator="konsil.example:9092",
    root="aa" * 32,
    token=TOKEN.hex(),
    expires=utc(1_800_000_000),
    authority="-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
)
OLD, NEW, THIEF = (Identity.generate() for _ in range(3))
LINE, OTHER_LINE = (node_key.public_form(node_key.generate()) for _ in range(2))
REQUEST = join_request(INVITE, OLD, LINE)
ROTATION = rotation_request(REQUEST, OLD, NEW, OTHER_LINE)


class Text(Record, frozen=True):
    text: str


def test_what_is_written_reads_back() -> None:
    assert read_invite(to_text(INVITE, "for people\nto read").encode(), "north.invite") == INVITE
    assert read_request(to_text(REQUEST, "").encode(), "north.request") == REQUEST
    assert read_request(to_text(ROTATION, "").encode(), "north.request") == ROTATION


def test_mail_programs_may_change_line_ends_and_set_a_mark() -> None:
    text = to_text(INVITE, "for people").replace("\n", "\r\n")
    assert read_invite(b"\xef\xbb\xbf" + text.encode(), "north.invite") == INVITE


def test_the_same_keys_make_the_same_request() -> None:
    assert join_request(INVITE, OLD, LINE) == REQUEST
    verify_join(REQUEST, TOKEN)
    verify_rotation(ROTATION)


def test_the_token_is_neither_sent_back_nor_shown() -> None:
    assert TOKEN.hex() not in to_text(REQUEST, "")
    assert repr(INVITE) == "Invite(...)"
    broken = to_text(INVITE, "").replace(TOKEN.hex(), TOKEN.hex()[:-2])
    with pytest.raises(InputError, match=r"north\.invite: token") as caught:
        read_invite(broken.encode(), "north.invite")
    assert TOKEN.hex()[:16] not in str(caught.value)


CHANGES = {
    "name": "south",
    "root": "bb" * 32,
    "authority": "bb" * 32,
    "identity": THIEF.public.hex(),
    "node_key": OTHER_LINE,
    "proof": "00" * 32,
    "signature": "00" * 64,
}


@pytest.mark.parametrize("field", CHANGES)
def test_a_request_changed_on_its_way_is_refused(field: str) -> None:
    with pytest.raises(PeerError):
        verify_join(replace(REQUEST, **{field: CHANGES[field]}), TOKEN)


def test_a_thief_without_the_token_cannot_ask() -> None:
    forged = join_request(replace(INVITE, token="00" * 32), THIEF, OTHER_LINE)
    with pytest.raises(PeerError, match="proof by the token"):
        verify_join(forged, TOKEN)


def test_nobody_asks_with_an_identity_they_do_not_hold() -> None:
    forged = replace(join_request(INVITE, OLD, LINE), signature=THIEF.sign("konsil/join-request/v1", b"").hex())
    with pytest.raises(PeerError, match="signature"):
        verify_join(forged, TOKEN)


def pretending(owner: Identity) -> Identity:
    """The thief's private key under `owner`'s public one."""
    thief = Identity.from_private_bytes(THIEF.private_bytes())
    thief.public = owner.public
    return thief


ROTATIONS: dict[str, Callable[[], RotationRequest]] = {
    "signed by a thief instead of the old key": lambda: rotation_request(REQUEST, pretending(OLD), NEW, LINE),
    "a new key that is somebody else's": lambda: rotation_request(REQUEST, OLD, pretending(NEW), LINE),
    "the signatures swapped": lambda: replace(
        ROTATION, signature=ROTATION.previous_signature, previous_signature=ROTATION.signature
    ),
    "another name": lambda: replace(ROTATION, name="south"),
    "another federation": lambda: replace(ROTATION, root="bb" * 32),
    "another node key": lambda: replace(ROTATION, node_key=LINE),
}


@pytest.mark.parametrize("case", ROTATIONS)
def test_a_forged_rotation_is_refused(case: str) -> None:
    with pytest.raises(PeerError):
        verify_rotation(ROTATIONS[case]())


def test_the_fingerprint_is_thirty_digits_and_binds_every_part() -> None:
    parts = (REQUEST.root, REQUEST.authority, REQUEST.name, REQUEST.identity, REQUEST.node_key)
    whole = fingerprint(*parts)
    assert whole == fingerprint_of(REQUEST)
    assert [len(group) for group in whole.split(" ")] == [5] * 6
    for index in range(len(parts)):
        other = list(parts)
        other[index] = other[index][:-1] + "0x"
        assert fingerprint(*other) != whole


def test_fingerprints_compare_by_digits_alone() -> None:
    whole = fingerprint_of(REQUEST)
    assert same_fingerprint(whole.replace(" ", "-"), whole)
    assert same_fingerprint(whole.replace(" ", ""), whole)
    assert not same_fingerprint(whole[:-1], whole)
    assert not same_fingerprint("", "")
    assert not same_fingerprint(whole[5:], whole[5:])


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "A", "-a", "a.b", "a\n", "a" * 64, "é", "a b", 'a"'])
def test_a_name_that_could_be_a_path_or_a_line_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="Choose another name"):
        check_name(name)
    with pytest.raises(KonsilError):
        to_text(replace(INVITE, name=name), "")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("coordinator", 'x:1"\nroot = "00'),
        ("coordinator", "x"),
        ("coordinator", "https://x:1"),
        ("authority", '-----BEGIN CERTIFICATE-----\n"""\nx = 1\n-----END CERTIFICATE-----\n'),
        ("authority", "none"),
        ("root", "aa"),
        ("root", "AA" * 32),
    ],
)
def test_no_value_smuggles_in_a_line(field: str, value: str) -> None:
    with pytest.raises(InputError):
        to_text(replace(INVITE, **{field: value}), "")


@given(st.text(st.characters(codec="utf-8")))
def test_quoted_text_reads_back(text: str) -> None:
    assert parse_toml(Text, f"text = {quoted(text)}\n", "x").text == text


def test_a_name_that_is_no_utf8_is_refused() -> None:
    with pytest.raises(InputError, match="UTF-8"):
        quoted("\udcff")


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xfe", b"x" * (LIMIT + 1), b"kind = 'rotation-1'", b"kind = 7", b"kind = 'join-2'", b"[", b"a = 1\n"],
)
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(InputError, match=r"north\.request"):
        read_request(data, "north.request")
    with pytest.raises(InputError, match=r"north\.invite"):
        read_invite(data, "north.invite")


def test_an_invite_is_no_request() -> None:
    with pytest.raises(InputError):
        read_request(to_text(INVITE, "").encode(), "x")
    assert isinstance(REQUEST, JoinRequest)
