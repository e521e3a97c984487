import pytest
from msgspec.structs import replace

from shared.crypto.identity import Identity
from shared.crypto.roster import ROSTER_LABEL, Roster, RosterEntry, SignedRoster, open_roster, sign_roster
from shared.errors import InputError, PeerError
from shared.wire import pack, unpack

ROOT, OPERATOR, NORTH, SOUTH = (Identity.generate() for _ in range(4))
ENTRIES = (
    RosterEntry(name="north", identity=NORTH.public, node_key=b"n"),
    RosterEntry(name="south", identity=SOUTH.public, node_key=b"s"),
)
ROSTER = Roster(version=3, entries=ENTRIES, operator=OPERATOR.public, valid_from=100, valid_until=200)


def opened(signed: SignedRoster, *, now: int = 150, last: int = 3, root: bytes = ROOT.public) -> Roster:
    return open_roster(signed, root, now=now, last_seen_version=last)


def forged(roster: Roster) -> SignedRoster:
    """Signed by the right root without the checks that `sign_roster` makes."""
    data = pack(roster)
    return SignedRoster(roster=data, signature=ROOT.sign(ROSTER_LABEL, data))


@pytest.mark.parametrize("now", [100, 150, 200])
def test_a_signed_roster_opens_while_it_is_valid(now: int) -> None:
    signed = unpack(SignedRoster, pack(sign_roster(ROOT, ROSTER)))
    assert opened(signed, now=now) == ROSTER
    assert ROSTER.identity("south") == SOUTH.public


def test_the_wrong_root_is_refused() -> None:
    with pytest.raises(PeerError, match="signature"):
        opened(sign_roster(OPERATOR, ROSTER))


def test_a_changed_byte_is_refused() -> None:
    signed = sign_roster(ROOT, ROSTER)
    with pytest.raises(PeerError, match="signature"):
        opened(replace(signed, roster=signed.roster.replace(b"north", b"norte")))


def test_an_older_version_is_refused_and_the_same_is_not() -> None:
    signed = sign_roster(ROOT, ROSTER)
    assert opened(signed, last=3).version == 3
    with pytest.raises(PeerError, match="version 4"):
        opened(signed, last=4)


@pytest.mark.parametrize("now", [99, 201])
def test_outside_its_validity_it_is_refused(now: int) -> None:
    with pytest.raises(PeerError, match="valid from 100 to 200"):
        opened(sign_roster(ROOT, ROSTER), now=now)


BAD = {
    "name": (ENTRIES[0], replace(ENTRIES[1], name="north")),
    "key": (ENTRIES[0], replace(ENTRIES[1], identity=NORTH.public)),
    "operator": (ENTRIES[0], replace(ENTRIES[1], identity=OPERATOR.public)),
    "node key": (ENTRIES[0], replace(ENTRIES[1], node_key=b"n")),
    "long key": (ENTRIES[0], replace(ENTRIES[1], identity=bytes(33))),
    "empty name": (ENTRIES[0], replace(ENTRIES[1], name="")),
    "capital": (ENTRIES[0], replace(ENTRIES[1], name="South")),
    "line end": (ENTRIES[0], replace(ENTRIES[1], name="south\n")),
    "path": (ENTRIES[0], replace(ENTRIES[1], name="../south")),
}


@pytest.mark.parametrize("entries", BAD.values(), ids=BAD.keys())
def test_duplicate_or_malformed_entries_are_refused_by_both_sides(entries: tuple[RosterEntry, ...]) -> None:
    bad = replace(ROSTER, entries=entries)
    with pytest.raises(PeerError):
        opened(forged(bad))
    with pytest.raises(InputError):
        sign_roster(ROOT, bad)


def test_empty_node_keys_may_repeat() -> None:
    entries = tuple(replace(entry, node_key=b"") for entry in ENTRIES)
    assert opened(sign_roster(ROOT, replace(ROSTER, entries=entries))).entries == entries


def test_an_unknown_site_has_no_identity() -> None:
    with pytest.raises(PeerError, match="unknown name"):
        ROSTER.identity("west")
