"""What this hospital itself must say yes to: its policy, its people's approval, its hours.

Rules:
1. Asked for every new run and again for every new round of it: what is tightened, denied or quiet holds at once.
2. The policy is judged first: a study that it forbids is refused for good and is not even kept.
3. A study that waits for approval is kept and refused. Whoever calls has done nothing of it yet, and does nothing then.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from client.approvals import Approvals, Asked
from client.audit import Audit
from client.home import Home
from client.rules import judge, judge_cohort, judge_hours, judge_peer_keys
from shared.crypto.roster import Roster
from shared.errors import RefusalError
from shared.study import Study


class Consent:
    """The say of the hospital in `home`; policy.toml is read anew each time."""

    def __init__(self, home: Home, audit: Audit) -> None:
        self._home, self._audit = home, audit
        self._approvals = Approvals(home.path / "approvals")

    def to_study(self, study: Study, roster: Roster, run: str) -> None:
        """Raise RefusalError unless `study`, signed by the operator of `roster`, may begin a run or a round now."""
        policy, asked = self._home.policy, Asked.of(study, roster, run)
        judge_peer_keys(policy, roster)
        judge(policy, study)
        self._approvals.judge(
            policy.studies,
            asked,
            note=lambda: self._audit.record("waits", study=study.name, hash=asked.hash, run=run),
        )
        judge_hours(policy, datetime.now(UTC))

    def given(self) -> tuple[Study, ...]:
        """The studies that people here approved, or may yet."""
        return self._approvals.agreed()

    def to_roster(self, roster: Roster) -> None:
        """Raise RefusalError if no cohort of `roster` could ever be one that the policy takes part in, or if a peer is
        not who the policy pinned."""
        policy, names = self._home.policy, tuple(entry.name for entry in roster.entries)
        judge_cohort(policy, names, "roster", error=RefusalError)
        judge_peer_keys(policy, roster)

    def to_sites(self, sites: Sequence[str], what: str) -> None:
        """Raise RefusalError, for now, unless the policy takes part in a cohort or sum (`what`) of `sites`."""
        judge_cohort(self._home.policy, sites, what)
