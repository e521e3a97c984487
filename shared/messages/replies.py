"""What a hospital answers: each to the request of its PROTOCOL.md step, or a refusal in its place."""

from shared.crypto.identity import Identity, verify
from shared.errors import KonsilError, RefusalError
from shared.messages.shown import Shown
from shared.messages.version import VERSION, check_version
from shared.secagg.joining import JoinRecord
from shared.wire import Record, pack, unpack

SHOWN_LABEL = "konsil/shown/v1"


class Joined(Record, frozen=True, tag="joined"):
    """The site takes part: its signed run key, and the Konsil it runs; `lacks`: the study's start weights, where it
    needs them (shared/start.py)."""

    record: JoinRecord
    software: str
    lacks: bool = False


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


AnyReply = Joined | Contributed | Confirmed | Answered | Refused


class Reply(Record, frozen=True):
    """Site → coordinator."""

    body: AnyReply
    version: int = VERSION


def write_reply(body: AnyReply) -> bytes:
    """`body` as it travels."""
    return pack(Reply(body=body))


def read_reply(data: bytes) -> AnyReply:
    """The reply in `data`; raises PeerError if it is of another version or malformed."""
    check_version(data)
    return unpack(Reply, data).body
