"""PROTOCOL.md step 0 at the hospital: what a study's invitation must prove before this site takes part.

Guarantees: an `Agreement` exists only for a study signed by the operator key of a roster that the pinned root signed,
that lists this site under this very identity, and that is no older than the last one seen.
"""

import time
from dataclasses import dataclass

from client.home import Home
from client.policy import Policy
from client.rounds import RunState
from shared.crypto.identity import Identity, verify
from shared.crypto.roster import Roster, open_roster
from shared.errors import PeerError
from shared.messages import Join
from shared.secagg.joining import join, new_run_key
from shared.secagg.plan import SiteRules
from shared.study import STUDY_LABEL, Study, study_hash


@dataclass(frozen=True)
class Agreement:
    """A run this site has joined, opened and checked again on every use."""

    state: RunState
    roster: Roster

    @property
    def study(self) -> Study:
        """The study all members of the run agreed to."""
        return self.state.join.study


def agree(home: Home, site: str, invitation: Join) -> RunState:
    """A new run key and the signed record of its public half. Raises PeerError where a proof fails."""
    identity = home.identity
    open_agreement(home, invitation, site=site, identity=identity)
    key = new_run_key()
    record = join(
        key,
        identity,
        site=site,
        run=invitation.run,
        study_hash=study_hash(invitation.study),
        roster_hash=invitation.roster.digest(),
    )
    return RunState(join=invitation, key=key, record=record)


def reopen(home: Home, state: RunState) -> Agreement:
    """The agreement stored as `state`, checked anew: rosters expire."""
    return Agreement(state, open_agreement(home, state.join, site=state.record.site, identity=home.identity))


def open_agreement(home: Home, invitation: Join, *, site: str, identity: Identity) -> Roster:
    """The roster of `invitation`. Raises PeerError unless roster, study and this site's own entry are in order."""
    roster = open_roster(invitation.roster, home.root_public, now=int(time.time()), last_seen_version=home.last_roster)
    verify(roster.operator, invitation.signature, STUDY_LABEL, invitation.run.encode(), invitation.study)
    if roster.identity(site) != identity.public:
        raise PeerError("roster", expected="this site's own identity key", got="another", do="Ask to be admitted anew.")
    home.remember_roster(roster.version)
    return roster


def rules_of(policy: Policy) -> SiteRules:
    """The policy's demands on every cohort and survivor set."""
    least = policy.aggregation.min_cohort
    return SiteRules(min_cohort=least, min_survivors=least, named_peers=policy.aggregation.peers)
