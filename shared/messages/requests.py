"""What a coordinator asks of a hospital, one request for each PROTOCOL.md step, signed by the operator of the roster.

Reading is in two halves: `peek` says what a request claims to be and builds nothing else; by that the hospital sets the
limit up to which `read_request` reads it whole.
"""

from typing import NamedTuple

from msgspec.structs import replace

from shared.crypto.identity import Identity, verify
from shared.crypto.roster import SignedRoster
from shared.messages.version import VERSION, check_version
from shared.secagg.joining import RunName
from shared.secagg.plan import Plan
from shared.study import Study
from shared.wire import LIMIT, Record, pack, unpack

#: Bytes of the longest invitation: a study, and a roster of 200 hospitals.
LONGEST_JOIN = 1 << 20
#: Bytes of the longest confirm request: 200 names; and unmask request: 199 bundles of 200 shares each, signatures.
LONGEST_CONFIRM = 1 << 16
LONGEST_UNMASK = 2 << 20
#: Bytes of a step beside its weights and its cohort's join records.
STEP_HEADER = 1 << 16
#: Bytes of one member's join record in a plan, its names at their longest.
LONGEST_RECORD = 1 << 10
STEP_LABEL = "konsil/step/v1"
CONFIRM_LABEL = "konsil/confirm-request/v1"
UNMASK_LABEL = "konsil/unmask-request/v1"


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


AnyRequest = Join | Step | Confirm | Unmask


class Request(Record, frozen=True):
    """Coordinator → site."""

    body: AnyRequest
    version: int = VERSION


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
    check_version(data)
    body = unpack(_Peeked, data).body
    return Heading(body.type, body.plan.run or body.run, body.plan.round)


def longest_step(parameters: int, sites: int, start: int = 0) -> int:
    """Bytes of the longest step for a model of which so many parameters move, a cohort of at most `sites`, and start
    weights of at most `start` bytes beside it."""
    return STEP_HEADER + 4 * parameters + LONGEST_RECORD * sites + start


def read_request(data: bytes, *, limit: int = LIMIT) -> AnyRequest:
    """The request in `data`, of at most `limit` bytes; raises PeerError if it is of another version or malformed."""
    check_version(data)
    return unpack(Request, data, limit=limit).body


def write_request(body: AnyRequest, operator: Identity | None = None) -> bytes:
    """`body` as it travels; everything but an invitation signed by `operator`."""
    if operator is not None and not isinstance(body, Join):
        body = replace(body, signature=operator.sign(*_operators_part(body)))
    return pack(Request(body=body))


def check_operator(body: Step | Confirm | Unmask, operator: bytes) -> None:
    """Raise PeerError unless the owner of the public key `operator` signed `body`."""
    verify(operator, body.signature, *_operators_part(body))


def _operators_part(body: Step | Confirm | Unmask) -> tuple[str, bytes]:
    """The label and the bytes that the operator signs."""
    if isinstance(body, Step):
        return STEP_LABEL, body.plan.digest()
    return (CONFIRM_LABEL if isinstance(body, Confirm) else UNMASK_LABEL), body.request
