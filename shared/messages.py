"""What coordinator and hospital say to each other. One request, one reply, each one record on the wire.

A request is bytes from outside: `unpack(Request, data)` admits these records and nothing else. Every reply to a plan
is stored by the site before it is sent, so asking again gives the same bytes. Vectors that hold anything about
patients travel masked, inside `Contributed.contribution`; the plain fields are what a hospital shows by its own choice.
"""

import math
from typing import Literal, NamedTuple

from msgspec import field
from msgspec.structs import replace

from shared.crypto.identity import Identity, verify
from shared.crypto.roster import SignedRoster, SiteName
from shared.errors import KonsilError, PeerError, RefusalError
from shared.secagg.joining import JoinRecord, RunName
from shared.secagg.plan import Plan
from shared.study import Study
from shared.wire import LIMIT, Record, digest, pack, unpack

#: Both sides speak exactly this; a peer of another version is refused by its number.
VERSION = 5
#: Bytes of the longest invitation: a study, and a roster of 200 hospitals.
LONGEST_JOIN = 1 << 20
#: Bytes of the longest confirm request: 200 names; and unmask request: 199 bundles of 200 shares each, signatures.
LONGEST_CONFIRM = 1 << 16
LONGEST_UNMASK = 2 << 20
#: Bytes of a step beside its weights and its cohort's join records.
STEP_HEADER = 1 << 16
#: Bytes of one member's join record in a plan, its names at their longest.
LONGEST_RECORD = 1 << 10


class Join(Record, frozen=True, tag="join"):
    """PROTOCOL.md step 0: the study, signed by the operator key of the roster."""

    run: RunName
    study: Study
    signature: bytes
    roster: SignedRoster


class Step(Record, frozen=True, tag="step"):
    """PROTOCOL.md step 1: a plan, and the packed task whose digest the plan holds."""

    plan: Plan
    payload: memoryview
    #: the operator's, over the plan: the network side of a hospital carries plans, it makes none
    signature: bytes = b""
    #: the file of the study's model.init, for a hospital that lacks it; the study says its SHA-256
    init: memoryview = memoryview(b"")


class Confirm(Record, frozen=True, tag="confirm"):
    """PROTOCOL.md step 2: an encoded ConfirmRequest, and the operator's signature over it."""

    request: bytes
    signature: bytes = b""


class Unmask(Record, frozen=True, tag="unmask"):
    """PROTOCOL.md step 3: an encoded UnmaskRequest, and the operator's signature over it."""

    request: bytes
    signature: bytes = b""


class TrainTask(Record, frozen=True, tag="train"):
    """Train one round from `weights`: those that move, little-endian float32 in the layout of the study's model. With
    privacy of mode "distributed" the round is one step, its gradients clipped to `clip`."""

    weights: memoryview
    class_weights: tuple[float, ...]
    clip: float | None = None
    #: what the algorithm sends beside the weights (shared/algorithms), float32 as they are; mostly nothing
    beside: memoryview = memoryview(b"")
    #: by name, the last round whose sum holds a hospital's update and was not taken back; only where hospitals keep
    #: something between rounds: it goes on from what it kept of that round
    counted: dict[SiteName, int] = field(default_factory=dict)


class EvaluateTask(Record, frozen=True, tag="evaluate"):
    """Score the patients of `split` (1 validation, 2 test) with `weights`, those that move; `personal`: with each
    hospital's own model in their place. `before`: the digest of the weights that a vote compares with, empty for none.
    """

    weights: memoryview
    split: int
    personal: bool = False
    before: bytes = b""


class SurveyTask(Record, frozen=True, tag="survey"):
    """Count images by split, label and reason of being left out."""


class Task(Record, frozen=True):
    """The payload of a step."""

    body: TrainTask | EvaluateTask | SurveyTask


AnyTask = TrainTask | EvaluateTask | SurveyTask
#: The name of each task's step in a plan.
STEP_OF: dict[type, Literal["train", "evaluate", "survey"]] = {
    TrainTask: "train",
    EvaluateTask: "evaluate",
    SurveyTask: "survey",
}
PAYLOAD_LABEL = "konsil/payload/v1"
STEP_LABEL = "konsil/step/v1"
CONFIRM_LABEL = "konsil/confirm-request/v1"
UNMASK_LABEL = "konsil/unmask-request/v1"


def payload_digest(payload: bytes | memoryview) -> bytes:
    """The 32 bytes by which a plan names what came with it."""
    return digest(PAYLOAD_LABEL, payload)


class Spent(Record, frozen=True):
    """What the ledger says after this round, for the patient who spent most; `steps` charged in this run. ε in total,
    over all studies, is shown only by a hospital that shows its counts: it tells of who was in earlier ones.

    It takes the noise of `honest` hospitals; `epsilon_alone` is ε of this run if nobody else added any. `evaluation`: ε
    of the run's noisy evaluations for a patient held out, at the study's evaluation.delta.
    """

    steps: int
    epsilon_run: float
    epsilon_total: float | None
    delta: float
    noise_multiplier: float
    honest: int = 1
    epsilon_alone: float | None = None
    evaluation: float | None = None


class OwnFigures(Record, frozen=True):
    """One hospital's own headline figure (shared/judged.py) with its 95 % interval, of `n` images, `positives` of them
    with the finding where there is one; only by its policy's leave."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    positives: int | None = None


class Joined(Record, frozen=True, tag="joined"):
    """The site takes part: its signed run key, and the Konsil it runs; `lacks`: the study's start weights, where it
    needs them (shared/start.py)."""

    record: JoinRecord
    software: str
    lacks: bool = False


class Shown(Record, frozen=True):
    """What a site shows in the clear beside its masked vector, by its own choice.

    `seconds`: exact only from a site that shows its image counts too; from others on the grid of `coarse_seconds`.
    """

    seconds: float
    spent: Spent | None = None
    figures: OwnFigures | None = None
    counts: dict[str, int] | None = None


def coarse_seconds(seconds: float) -> float:
    """`seconds` up to the next power of two, from 1 on: a public grid.

    How long a round takes grows with the patients drawn. What is still visible is the order of magnitude, as it is to
    anyone who watches when the reply comes.
    """
    return float(2 ** max(0, math.ceil(math.log2(max(seconds, 1.0)))))


SHOWN_LABEL = "konsil/shown/v1"


class Contributed(Record, frozen=True, tag="contributed"):
    """An encoded Contribution, what is shown, signed for the same plan, and the packed vector that both belong to
    (signed within the Contribution). The vector comes last and is not copied on reading."""

    contribution: bytes
    shown: Shown
    signature: bytes
    vector: memoryview

    @classmethod
    def sign(
        cls, contribution: bytes, vector: memoryview, shown: Shown, identity: Identity, plan: bytes
    ) -> "Contributed":
        """The reply of the site `identity` to the plan whose digest is `plan`."""
        signature = identity.sign(SHOWN_LABEL, plan, shown)
        return cls(contribution=contribution, shown=shown, signature=signature, vector=vector)

    def check(self, public: bytes, plan: bytes) -> None:
        """Raise PeerError unless `shown` was signed for `plan` by the owner of `public`."""
        verify(public, self.signature, SHOWN_LABEL, plan, self.shown)


class Confirmed(Record, frozen=True, tag="confirmed"):
    """An encoded Confirmation."""

    confirmation: bytes


class Answered(Record, frozen=True, tag="answered"):
    """An encoded UnmaskAnswer."""

    answer: bytes


class Refused(Record, frozen=True, tag="refused"):
    """The site does not do it, and says why to the person who must act. `rule` is set if its policy says no;
    `passing` if the same request may be answered later: it waits for approval, or for the end of quiet hours; `lacks`
    if it would be answered with the study's start weights beside it."""

    what: str
    expected: str
    got: str
    do: str
    rule: str = ""
    site: str = ""
    passing: bool = False
    lacks: bool = False

    @classmethod
    def of(cls, error: KonsilError, site: str) -> "Refused":
        """The refusal that tells what `error` says."""
        rule = error.rule if isinstance(error, RefusalError) else ""
        passing, lacks = (bool(getattr(error, name, False)) for name in ("passing", "lacks"))
        return cls(
            what=error.what,
            expected=error.expected,
            got=error.got,
            do=error.do,
            rule=rule,
            site=site,
            passing=passing,
            lacks=lacks,
        )

    @property
    def reason(self) -> str:
        """One sentence for the report."""
        return str(KonsilError(self.what, expected=self.expected, got=self.got)).rstrip(".")


AnyRequest = Join | Step | Confirm | Unmask
AnyReply = Joined | Contributed | Confirmed | Answered | Refused


class Request(Record, frozen=True):
    """Coordinator → site."""

    body: AnyRequest
    version: int = VERSION


class Reply(Record, frozen=True):
    """Site → coordinator."""

    body: AnyReply
    version: int = VERSION


class Receipt(Record, frozen=True):
    """One reply as the coordinator got it, for its log: what a hospital holds against its own audit log.

    `purpose` as in that log: "join", the plan's step, "confirm", "unmask", or "refusal".
    """

    at: str
    site: str
    run: str
    round: int
    purpose: str
    sha256: str
    bytes: int
    version: int = 1


class _Version(Record, frozen=True, forbid_unknown_fields=False):
    version: int


class _PlanHead(Record, frozen=True, forbid_unknown_fields=False):
    run: str = ""
    round: int = 0


class _JoinOrStep(Record, frozen=True, forbid_unknown_fields=False):
    type: str = ""
    run: str = ""
    plan: _PlanHead = _PlanHead()


class _Peeked(Record, frozen=True, forbid_unknown_fields=False):
    version: int
    body: _JoinOrStep = _JoinOrStep()


class Heading(NamedTuple):
    """What a request says it is: "join", a "step" of `run` and its round, "confirm" or "unmask" (of a run not told)."""

    kind: str
    run: str
    round: int


def peek(data: bytes) -> Heading:
    """The heading of `data`, with the rest skipped and not built: whoever reads it whole has set a limit by it.

    Raises PeerError if it is of another version or has no such shape.
    """
    _check_version(data)
    body = unpack(_Peeked, data).body
    return Heading(body.type, body.plan.run or body.run, body.plan.round)


def longest_step(parameters: int, sites: int, start: int = 0) -> int:
    """Bytes of the longest step for a model of which so many parameters move, a cohort of at most `sites`, and start
    weights of at most `start` bytes beside it."""
    return STEP_HEADER + 4 * parameters + LONGEST_RECORD * sites + start


def read_request(data: bytes, *, limit: int = LIMIT) -> AnyRequest:
    """The request in `data`, of at most `limit` bytes; raises PeerError if it is of another version or malformed."""
    _check_version(data)
    return unpack(Request, data, limit=limit).body


def read_reply(data: bytes) -> AnyReply:
    """The reply in `data`; raises PeerError if it is of another version or malformed."""
    _check_version(data)
    return unpack(Reply, data).body


def _check_version(data: bytes) -> None:
    found = unpack(_Version, data).version
    if found != VERSION:
        raise PeerError(
            "message version", expected=str(VERSION), got=str(found), do="Run the same Konsil at both ends."
        )


#: What the operator signs of a request that carries one encoded message, by its kind.
_SIGNED = {Confirm: CONFIRM_LABEL, Unmask: UNMASK_LABEL}


def request(body: AnyRequest, operator: Identity | None = None) -> bytes:
    """`body` as it travels; everything but an invitation signed by `operator`."""
    if operator is not None and not isinstance(body, Join):
        body = replace(body, signature=operator.sign(*_operators_part(body)))
    return pack(Request(body=body))


def check_operator(body: Step | Confirm | Unmask, operator: bytes) -> None:
    """Raise PeerError unless the owner of the public key `operator` signed `body`."""
    verify(operator, body.signature, *_operators_part(body))


def _operators_part(body: Step | Confirm | Unmask) -> tuple[str, bytes]:
    """The label and the bytes that the operator signs."""
    return (STEP_LABEL, body.plan.digest()) if isinstance(body, Step) else (_SIGNED[type(body)], body.request)


def reply(body: AnyReply) -> bytes:
    """`body` as it travels."""
    return pack(Reply(body=body))
