"""Joining a run: a run key and a signed record of its public half (PROTOCOL.md, step 0).

Guarantees of `check_join`: the record was signed by the identity that the roster lists for its site, for this
run, study and roster and no other, and its key is a canonical X25519 key of high order.

The caller (a site) checks the study and its policy before `join`, stores the `RunKey` with mode 0600 until
the run ends and deletes it then: whoever has it can rebuild the pair seeds of every round of the run.
"""

from typing import Annotated

from msgspec import Meta
from msgspec.structs import replace

from shared.crypto.identity import Identity, verify
from shared.crypto.roster import Key, Roster, SiteName
from shared.crypto.sealing import check_public, generate
from shared.crypto.secret import SecretRecord
from shared.errors import PeerError
from shared.wire import Record

JOIN_LABEL = "konsil/join/v1"


#: Konsil's own id of a run, which outlives Flower's runs.
RunName = Annotated[str, Meta(min_length=1, max_length=128)]


class RunKey(SecretRecord, frozen=True):
    """A site's X25519 key for one run, 32 bytes each half."""

    private: bytes
    public: bytes


class JoinRecord(Record, frozen=True):
    """A site's public run key (32 bytes) and its identity's signature over every field before it (64 bytes)."""

    run: RunName
    study_hash: Key
    roster_hash: Key
    site: SiteName
    public_key: Key
    signature: bytes


def new_run_key() -> RunKey:
    """A new key for one run of one site."""
    private, public = generate()
    return RunKey(private=private, public=public)


def join(
    run_key: RunKey, identity: Identity, *, site: str, run: str, study_hash: bytes, roster_hash: bytes
) -> JoinRecord:
    """The record by which `site` joins `run`; `roster_hash` is `SignedRoster.digest()`."""
    unsigned = JoinRecord(
        run=run,
        study_hash=study_hash,
        roster_hash=roster_hash,
        site=site,
        public_key=run_key.public,
        signature=b"",
    )
    return replace(unsigned, signature=identity.sign(JOIN_LABEL, *_signed_parts(unsigned)))


def check_join(record: JoinRecord, roster: Roster, *, run: str, study_hash: bytes, roster_hash: bytes) -> None:
    """Raise PeerError unless `record` is a join of `run` by a site of `roster`."""
    found = (record.run, record.study_hash, record.roster_hash)
    if found != (run, study_hash, roster_hash):
        raise PeerError(
            f"join record of {record.site}",
            expected=f"run {run!r} with its study and roster",
            got=f"run {record.run!r}, study {record.study_hash.hex()[:16]}, roster {record.roster_hash.hex()[:16]}",
        )
    verify(roster.identity(record.site), record.signature, JOIN_LABEL, *_signed_parts(record))
    check_public(record.public_key, owner=record.site)


def _signed_parts(record: JoinRecord) -> tuple[bytes, ...]:
    return (
        record.run.encode(),
        record.study_hash,
        record.roster_hash,
        record.site.encode(),
        record.public_key,
    )
