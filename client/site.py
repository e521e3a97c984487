"""The hospital's end of the protocol: one message in, one reply out.

    verify → policy → approval → ledger → act → mask → store → audit → reply

Rules:
1. A request is judged by what it holds, never by who delivered it, and read only up to the size its study could need.
2. What the policy forbids is refused with the rule's name; what the protocol forbids with what was expected.
3. A study that waits for approval is kept and refused: nothing of it is prepared or computed.
4. Nothing leaves but masked vectors, and plain figures that the policy allows; and no byte before its audit line is on
   disk, but for the refusal that says so.
5. Whatever comes in, a reply goes out: no message stops the daemon, and no refusal shows the inside of this house.

Plans are answered in client/contributing.py, what is asked of their sums' survivors in client/survivors.py.
"""

from collections.abc import Callable

from client.agreement import agree, open_agreement, reopen
from client.audit import Audit
from client.consent import Consent
from client.contributing import Contributing
from client.doing import Doing
from client.home import Home
from client.kept import Keeper
from client.ledger import Ledger, archive_tag
from client.outgoing import Leaving, Outgoing
from client.privacy.release import release
from client.refusals import unforeseen
from client.rounds import Rounds, RunState
from client.survivors import Survivors
from client.training.gradients.base import PatientGradients
from client.training.private import Release
from client.workbench import Prepared, Workbench
from shared.algorithms.registry import algorithm_of
from shared.crypto.roster import Roster
from shared.errors import KonsilError, PeerError
from shared.messages.replies import Joined, write_reply
from shared.messages.requests import (
    LONGEST_CONFIRM,
    LONGEST_JOIN,
    LONGEST_UNMASK,
    AnyRequest,
    Confirm,
    Heading,
    Join,
    Step,
    longest_step,
    peek,
    read_request,
)
from shared.start import is_needed, longest
from shared.study import Study, study_hash
from shared.version import SOFTWARE

#: A run key that was not used for so long is deleted, and its run is over here; so are files no study begins with.
FORGET_S = 30 * 24 * 3600.0
#: Bytes of the longest request by its kind, whatever the study.
LONGEST = {"confirm": LONGEST_CONFIRM, "unmask": LONGEST_UNMASK}


class Site:
    """One hospital, in its `home`. Any number of processes may serve the same home. An audit plants patients by
    `prepare` and `way`, and takes the noise away by `release` (client/workbench.py)."""

    def __init__(
        self,
        home: Home,
        *,
        prepare: Callable[[Home, Study], Prepared] | None = None,
        way: PatientGradients | None = None,
        release: Release = release,
    ) -> None:
        self._home, name = home, home.config.name
        self._rounds = Rounds(home.path / "rounds.sqlite")
        self._audit = Audit(home.path / "audit.jsonl")
        self._consent = Consent(home, self._audit)
        self._outgoing = Outgoing(name, self._audit)
        self._bench = Workbench(home, note=self._audit.record, prepare=prepare, way=way, release=release)
        ledger = Ledger(home.path / "ledger.sqlite", archive=archive_tag(home.archive_key))
        keeper = Keeper(home.path / "kept", most_bytes=int(home.config.kept_gib * 2**30))
        doing = Doing(name, home, self._bench, keeper)
        self._contributing = Contributing(home, self._rounds, self._consent, self._audit, ledger, doing)
        self._survivors = Survivors(home, self._rounds, self._consent, self._audit)
        self._rounds.forget(FORGET_S)
        keeper.forget(FORGET_S)
        self._forget_starts()

    def handle(self, data: bytes) -> bytes:
        """The reply to one request from outside: what was asked, or a refusal that says why."""
        about = Heading("", "", 0)
        try:
            about = peek(data)
            return self._outgoing.let_go(self._answer(read_request(data, limit=self._longest(about))))
        except KonsilError as error:
            return self._outgoing.refuse(error, about)
        except Exception as error:  # noqa: BLE001  rule 5
            return self._outgoing.refuse(unforeseen(error), about)

    def _answer(self, body: AnyRequest) -> Leaving:
        if isinstance(body, Join):
            return self._join(body)
        if isinstance(body, Step):
            return self._contributing.answer(body)
        return self._survivors.confirm(body) if isinstance(body, Confirm) else self._survivors.unmask(body)

    def _longest(self, about: Heading) -> int:
        """Bytes that a request of this heading may have; only a run joined here may need more than an invitation."""
        if about.kind in LONGEST:
            return LONGEST[about.kind]
        if about.kind != "step":
            return LONGEST_JOIN
        state = self._rounds.joined(about.run)
        study, layout = state.join.study, self._bench.layout(state.join.study)
        vectors, start = 1 + algorithm_of(study).beside, longest(layout) if is_needed(study) else 0
        return longest_step(vectors * layout.moving, len(state.roster.entries), start)

    def _join(self, join: Join) -> Leaving:
        """PROTOCOL.md step 0."""
        earlier = self._rounds.run(join.run)
        if earlier is not None and earlier.join == join:
            self._welcome(join, reopen(self._home, earlier).roster)
            state = earlier
        else:
            self._welcome(join, open_agreement(self._home, join, site=self._home.config.name))
            state = self._enter(join, earlier)
        lacks = self._bench.starts.lacks(join.study)
        return Leaving(write_reply(Joined(record=state.record, software=SOFTWARE, lacks=lacks)), "join", join.run, 0)

    def _welcome(self, join: Join, roster: Roster) -> None:
        self._consent.to_roster(roster)
        self._consent.to_study(join.study, roster, join.run)

    def _enter(self, join: Join, earlier: RunState | None) -> RunState:
        """Join a new run, or one joined before under an older roster; the run's study never changes."""
        self._rounds.forget(FORGET_S)
        state = earlier
        if earlier is None or earlier.join.study == join.study:
            agreed = agree(self._home, self._home.config.name, join, earlier)
            state = self._rounds.join(agreed, instead_of=earlier)
        if state is None or state.join.study != join.study:
            raise PeerError("join", expected="the study this run was joined with", got="another under the same run")
        self._audit.record("joined", run=join.run, study=join.study.name, hash=study_hash(join.study).hex())
        self._forget_starts()
        return state

    def _forget_starts(self) -> None:
        self._bench.starts.forget((*self._rounds.studies(), *self._consent.given()), FORGET_S)
