"""The roster: who belongs to the federation, signed by its root (PROTOCOL.md, parties and trust).

Guarantees of `open_roster`: the bytes were signed by the root the caller pinned, are no older than what the
caller saw last, are valid at `now`, and name every site, identity key and node key once. Everything else is
a PeerError and the caller keeps the roster it has.

Rules for the caller: pin `root_public` when joining; store `version` after each success and hand it in as
`last_seen_version`; `now` is its own clock, in unix seconds.

    >>> root, site, operator = Identity.generate(), Identity.generate(), Identity.generate()
    >>> entry = RosterEntry(name="north", identity=site.public)
    >>> roster = Roster(version=1, entries=(entry,), operator=operator.public, valid_from=0, valid_until=9)
    >>> open_roster(sign_roster(root, roster), root.public, now=5, last_seen_version=0).version
    1
"""

from typing import Annotated

from msgspec import Meta

from shared.crypto.identity import KEY_BYTES, Identity, verify
from shared.errors import InputError, PeerError
from shared.wire import Record, digest, pack, unpack

ROSTER_LABEL = "konsil/roster/v1"

#: At most this many bytes of roster: 200 sites need about 40 KB.
LIMIT = 1 << 20

SiteName = Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9-]{0,62}\Z")]
Key = Annotated[bytes, Meta(min_length=KEY_BYTES, max_length=KEY_BYTES)]
Natural = Annotated[int, Meta(ge=0)]


class RosterEntry(Record, frozen=True):
    """One site: its name, its Ed25519 identity (32 bytes) and its Flower node key (any encoding, or empty)."""

    name: SiteName
    identity: Key
    node_key: bytes = b""


class Roster(Record, frozen=True):
    """The members. `operator` is the coordinator's study-signing key; times are unix seconds, both inclusive."""

    version: Annotated[int, Meta(ge=1)]
    entries: tuple[RosterEntry, ...]
    operator: Key
    valid_from: Natural
    valid_until: Natural

    def identity(self, name: str) -> bytes:
        """The identity key of site `name`. Raises PeerError where the roster does not know it."""
        for entry in self.entries:
            if entry.name == name:
                return entry.identity
        raise PeerError(f"site {name!r}", expected=f"a site of roster {self.version}", got="an unknown name")


class SignedRoster(Record, frozen=True):
    """The roster's bytes as the root signed them: they keep their digest when the classes grow."""

    roster: bytes
    signature: bytes

    def digest(self) -> bytes:
        """32 bytes that join records and plans bind."""
        return digest(ROSTER_LABEL, self.roster)


def sign_roster(root_private: Identity, roster: Roster) -> SignedRoster:
    """`roster` signed with the federation root's key. Raises InputError for one that no site would open."""
    data = pack(roster)
    try:
        _check_entries(unpack(Roster, data, limit=LIMIT))
    except PeerError as error:
        raise InputError(error.what, expected=error.expected, got=error.got, do=error.do) from None
    return SignedRoster(roster=data, signature=root_private.sign(ROSTER_LABEL, data))


def open_roster(signed: SignedRoster, root_public: bytes, *, now: int, last_seen_version: int) -> Roster:
    """The roster inside `signed`, or PeerError (see the module's guarantees)."""
    verify(root_public, signed.signature, ROSTER_LABEL, signed.roster)
    roster = unpack(Roster, signed.roster, limit=LIMIT)
    if roster.version < last_seen_version:
        raise PeerError("roster", expected=f"version {last_seen_version} or later", got=f"{roster.version}")
    if not roster.valid_from <= now <= roster.valid_until:
        raise PeerError(
            f"roster {roster.version}",
            expected=f"valid at {now}",
            got=f"valid from {roster.valid_from} to {roster.valid_until}",
            do="Get the current roster from the consortium, or set this host's clock.",
        )
    _check_entries(roster)
    return roster


def _check_entries(roster: Roster) -> None:
    """Names, identity keys and node keys are each listed once, and the operator is no site."""
    keys = [entry.identity for entry in roster.entries]
    columns: dict[str, list[str] | list[bytes]] = {
        "name": [entry.name for entry in roster.entries],
        "key": [*keys, roster.operator],
        "node key": [entry.node_key for entry in roster.entries if entry.node_key],
    }
    for column, values in columns.items():
        if len(set(values)) != len(values):
            raise PeerError(f"roster {roster.version}", expected=f"every {column} once", got="one listed twice")
