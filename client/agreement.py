"""PROTOCOL.md step 0 at the hospital: what a study's invitation must prove before this site takes part.

Guarantees: an `Agreement` exists only for a study signed by the operator key of a roster that the pinned root signed
and that lists this site under this very identity.

Rules for rosters:
1. Whoever asks for something new brings a roster no older than the newest this site has seen.
2. A run goes on under the roster it was joined with until that one expires, whatever hospitals a newer one adds.
3. But nobody goes on whom the newest roster seen has removed or given another key: not this site, not a member of a
   cohort, not the operator who signed the study.

The newest roster seen is kept in roster.bin, its version in roster.version beside it.
"""

import fcntl
import time
from collections.abc import Sequence
from dataclasses import dataclass

from client.home import Home
from client.rounds import RunState
from shared.crypto.identity import verify
from shared.crypto.roster import LIMIT, ROSTER_LABEL, Roster, SignedRoster, open_roster
from shared.errors import PeerError, SiteError
from shared.files import write_atomically
from shared.messages.requests import Join
from shared.secagg.joining import RunKey, join, new_run_key
from shared.study import STUDY_LABEL, Study, study_hash
from shared.wire import pack, unpack


@dataclass(frozen=True)
class Agreement:
    """A run this site has joined, opened and checked again on every use. `newest`: the newest roster seen."""

    state: RunState
    roster: Roster
    newest: Roster

    @property
    def study(self) -> Study:
        """The study all members of the run agreed to."""
        return self.state.join.study

    def check_members(self, sites: Sequence[str]) -> None:
        """Raise PeerError if the newest roster has removed one of `sites` or given it another key (rule 3)."""
        for site in sites:
            _still_listed(self.newest, site, self.roster.identity(site))


def agree(home: Home, site: str, invitation: Join, earlier: RunState | None) -> RunState:
    """The signed record of a run key's public half: a new key, or that of `earlier`, which joined this very run under
    an older roster. The caller has opened the invitation."""
    key: RunKey = new_run_key() if earlier is None else earlier.key
    record = join(
        key,
        home.identity,
        site=site,
        run=invitation.run,
        study_hash=study_hash(invitation.study),
        roster_hash=invitation.roster.digest(),
    )
    return RunState(join=invitation, key=key, record=record)


def reopen(home: Home, state: RunState) -> Agreement:
    """The agreement stored as `state`, checked anew by rules 2 and 3."""
    roster = open_roster(state.join.roster, home.root_public, now=int(time.time()), last_seen_version=0)
    _check_study(roster, state.join)
    newest = newest_roster(home) or roster
    if newest.operator != roster.operator:
        raise PeerError(
            "operator",
            expected=f"the one of roster {newest.version}",
            got="one whose key was replaced since this run began",
            do="Start the run anew.",
        )
    _still_listed(newest, state.record.site, home.identity.public)
    _still_listed(roster, state.record.site, home.identity.public)
    return Agreement(state, roster, newest)


def open_agreement(home: Home, invitation: Join, *, site: str) -> Roster:
    """The roster of `invitation`, remembered if it is the newest. Raises PeerError unless roster, study and this site's
    own entry are in order (rule 1). Where the roster lists this site's next key, that one becomes its identity."""
    newest = newest_roster(home)
    last = max(home.last_roster, newest.version if newest is not None else 0)
    roster = open_roster(invitation.roster, home.root_public, now=int(time.time()), last_seen_version=last)
    _remember(home, invitation.roster, roster.version)
    _check_study(roster, invitation)
    listed = roster.identity(site)
    if listed != home.identity.public and not home.adopt_identity(listed):
        raise PeerError("roster", expected="this site's own identity key", got="another", do="Ask to be admitted anew.")
    return roster


def newest_roster(home: Home) -> Roster | None:
    """The newest roster this site has seen, in force or expired; None before the first. Raises SiteError for a file
    that the pinned root did not sign."""
    path = home.path / "roster.bin"
    if not path.exists():
        return None
    try:
        signed = unpack(SignedRoster, path.read_bytes(), limit=2 * LIMIT)
        verify(home.root_public, signed.signature, ROSTER_LABEL, signed.roster)
        return unpack(Roster, signed.roster, limit=LIMIT)
    except PeerError:
        raise SiteError(
            "roster.bin",
            expected="the newest roster, as the federation's root signed it",
            got="something else",
            do="Restore it from a backup, or put the federation's current roster there.",
        ) from None


def _remember(home: Home, signed: SignedRoster, version: int) -> None:
    """Keep `signed` if it is the newest: its bytes first, so that roster.version never promises what is missing."""
    with (home.path / "roster.bin.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        newest = newest_roster(home)
        if newest is None or version > newest.version:
            write_atomically(home.path / "roster.bin", pack(signed), mode=0o600)
    home.remember_roster(version)


def _check_study(roster: Roster, invitation: Join) -> None:
    verify(roster.operator, invitation.signature, STUDY_LABEL, invitation.run.encode(), invitation.study)


def _still_listed(roster: Roster, site: str, identity: bytes) -> None:
    if roster.identity(site) != identity:
        raise PeerError(
            f"site {site!r}",
            expected=f"the identity key of roster {roster.version}",
            got="another",
            do="Start the run anew: its key was replaced since.",
        )
