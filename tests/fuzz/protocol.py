"""The protocol's messages: what a coordinator sends a hospital, what a hospital answers, and the ways they travel.

Whoever holds a key may sign nonsense: where a signature would stop every input at the door, the input is signed first.
"""

import copy
import hashlib
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

import numpy as np
from flwr.app import Message
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as ProtoRecordDict
from msgspec.structs import replace

from client import frames
from client.agent import _work_of
from client.home import Home, make_keys
from client.node_report import NodeReport
from client.questions import check_task
from client.site import Site
from server.federation import create
from server.shown import check_shown, said
from shared.counts import encode_counts
from shared.crypto.identity import Identity
from shared.errors import PeerError
from shared.layout import layout_for
from shared.messages.replies import Contributed, Joined, Refused, Reply, read_reply, write_reply
from shared.messages.requests import Confirm, Join, Request, Step, Unmask, peek, read_request, write_request
from shared.messages.shown import Shown
from shared.messages.tasks import EvaluateTask, SurveyTask, Task, TrainTask, payload_digest
from shared.open_sums import OpenCollector, OpenContribution, contribute
from shared.relay import open_message, wrap
from shared.secagg.collector import Collector
from shared.secagg.joining import join, new_run_key
from shared.secagg.masks import filled
from shared.secagg.member import Plain, RoundState, confirm, unmask
from shared.secagg.messages import (
    ANSWER_LABEL,
    CONFIRM_LABEL,
    CONTRIBUTION_LABEL,
    Confirmation,
    Contribution,
    UnmaskAnswer,
    answer_parts,
    confirm_parts,
    contribution_parts,
    vector_digest,
)
from shared.secagg.plan import Plan, SiteRules
from shared.secagg.rehearsal import Federation, Hospital
from shared.study import STUDY_LABEL, Study, study_hash
from shared.terms import terms
from shared.update import TRAIN_COUNTS
from shared.wire import pack, unpack
from simulations.sites import POLICY
from tests.fuzz.engine import Decoder, Target
from tests.fuzz.samples import STUDY, counted_randomness, sample

#: Ways to choose among the types that a field may have: there are at most so many kinds of request or reply.
PICKS = 6
RUN = "chest-01"


class _Rehearsal:
    """Three hospitals that masked the same plan; of c, nothing but its join is known."""

    def __init__(self) -> None:
        with counted_randomness():
            self.federation = Federation.of(3)
            self.plan = self.federation.plan(length=5)
            self.collector = Collector(self.plan, self.federation.roster)
            self.first, self.second, self.third = self.federation.hospitals
            vector = np.ones(5, self.plan.dtype)
            masked = {h.name: self.federation.contribute(self.plan, h, vector) for h in self.federation.hospitals}
        self.masked = masked
        self.states: dict[Hospital, RoundState] = {h: masked[h.name].state for h in (self.first, self.second)}

    def add(self, hospital: Hospital) -> None:
        """Its vector into the sum."""
        found = self.masked[hospital.name]
        self.collector.add(found.contribution, found.vector)

    def close(self) -> None:
        """Two survive."""
        self.add(self.first)
        self.add(self.second)
        self.collector.close()

    def signed(self, hospital: Hospital) -> bytes:
        """Its confirmation."""
        request = self.collector.ask_confirm(hospital.name)
        return confirm(self.states[hospital], request, identity=hospital.identity, rules=SiteRules())

    def settle(self) -> None:
        """Both confirm."""
        for hospital in self.states:
            self.collector.confirm(self.signed(hospital))
        self.collector.settle()


def _request(_: Path) -> Decoder:
    def read(data: bytes) -> None:
        peek(data)
        _work_of(data)
        read_request(data, limit=1 << 16)

    return Decoder(read, [pack(sample(Request, pick)) for pick in range(PICKS)], "msgpack")


def _reply(folder: Path) -> Decoder:
    """As the coordinator reads one, up to the signature."""
    del folder
    made = _Rehearsal()
    found = made.masked[made.third.name]
    shown = Shown(seconds=1.0, counts={"used": 3})
    body = Contributed.sign(found.contribution, found.vector, shown, made.third.identity, made.collector.digest)

    def read(data: bytes) -> None:
        body = read_reply(data)
        if isinstance(body, Refused):
            said(body.reason)
        elif isinstance(body, Contributed):
            check_shown(body.shown, STUDY)
            body.check(made.third.identity.public, made.collector.digest)
            copy.deepcopy(made.collector).add(body.contribution, body.vector)

    seeds = [pack(sample(Reply, pick)) for pick in range(PICKS)]
    return Decoder(read, [*seeds, write_reply(body)], "msgpack")


def _contribution(folder: Path) -> Decoder:
    """A member's own, whatever it says; and the vector beside it."""
    del folder
    made = _Rehearsal()
    made.add(made.first)
    found = made.masked[made.second.name]

    def read(data: bytes) -> None:
        message, vector = unpack(Contribution, data), found.vector[: len(found.vector) - (len(data) % 5 == 0)]
        signature = made.second.identity.sign(CONTRIBUTION_LABEL, *contribution_parts(message, vector))
        copy.deepcopy(made.collector).add(pack(replace(message, signature=signature)), vector)

    return Decoder(read, (found.contribution,), "msgpack")


def _open_contribution(folder: Path) -> Decoder:
    """A vector without masks, signed by its hospital whatever it says."""
    del folder
    federation = Federation.of(3)
    plan = replace(federation.plan(length=4), adversary="none", counts=TRAIN_COUNTS)
    hospital = federation.hospitals[0]
    plain = Plain(encode_counts([1, 0, 0, 10, 0, 10]), filled(np.ones(4, np.uint32)))
    opened = contribute(federation.seat(plan, hospital), plain, identity=hospital.identity)
    label, collector = "konsil/open-contribution/v1", OpenCollector(plan, federation.roster, most=100)

    def read(data: bytes) -> None:
        message, vector = unpack(OpenContribution, data), opened.vector[: len(opened.vector) - (len(data) % 5 == 0)]
        parts = (message.plan, message.site.encode(), message.counts, vector_digest(vector))
        signature = hospital.identity.sign(label, *parts)
        copy.deepcopy(collector).add(pack(replace(message, signature=signature)), vector)

    return Decoder(read, (opened.contribution,), "msgpack")


def _confirmation(folder: Path) -> Decoder:
    del folder
    made = _Rehearsal()
    made.close()
    seed = made.signed(made.second)

    def read(data: bytes) -> None:
        message = unpack(Confirmation, data)
        signature = made.second.identity.sign(CONFIRM_LABEL, *confirm_parts(message.plan, message.survivors))
        copy.deepcopy(made.collector).confirm(pack(replace(message, signature=signature)))

    return Decoder(read, (seed,), "msgpack")


def _answer(folder: Path) -> Decoder:
    """And the sum is opened with it."""
    del folder
    made = _Rehearsal()
    made.close()
    made.settle()
    answers = [
        unmask(state, made.collector.request(hospital.name), identity=hospital.identity, rules=SiteRules())
        for hospital, state in made.states.items()
    ]
    made.collector.answer(answers[0])

    def read(data: bytes) -> None:
        message = unpack(UnmaskAnswer, data)
        signature = made.second.identity.sign(ANSWER_LABEL, *answer_parts(message))
        collector = copy.deepcopy(made.collector)
        collector.answer(pack(replace(message, signature=signature)))
        collector.finish()

    return Decoder(read, (answers[1],), "msgpack")


def _member(folder: Path) -> Decoder:
    """What the coordinator may ask of a member that has masked."""
    del folder
    made = _Rehearsal()
    made.close()
    seeds = [made.collector.ask_confirm(made.second.name)]
    made.settle()
    seeds.append(made.collector.request(made.second.name))
    state, identity = made.states[made.second], made.second.identity

    def read(data: bytes) -> None:
        try:
            confirm(state, data, identity=identity, rules=SiteRules())
        except PeerError:
            unmask(state, data, identity=identity, rules=SiteRules())

    return Decoder(read, seeds, "msgpack")


def _plan(folder: Path) -> Decoder:
    del folder
    made = _Rehearsal()

    def read(data: bytes) -> None:
        made.federation.seat(unpack(Plan, data), made.second)

    return Decoder(read, (pack(made.plan),), "msgpack")


def _train_task(folder: Path) -> Decoder:
    """What a signed step asks, beside its plan."""
    del folder
    parameters = 4
    honest = TrainTask(weights=memoryview(np.ones(parameters, "<f4").tobytes()), class_weights=(1.0, 1.0))

    def read(data: bytes) -> None:
        body = unpack(Task, data).body
        if isinstance(body, TrainTask):
            check_task(STUDY, body, parameters)

    return Decoder(read, (pack(Task(body=honest)),), "msgpack")


class _House:
    """A hospital without images, joined to a run, and whoever has the operator's key."""

    def __init__(self, folder: Path) -> None:
        with counted_randomness():
            self.federation = create(folder / "federation")
            home = folder / "north"
            make_keys(home)
            peers = {name: Identity.generate() for name in ("south", "west")}
            self.federation.enroll({"north": Home(home).identity.public, **{n: k.public for n, k in peers.items()}})
        (home / "site.toml").write_text('name = "north"\narchive = "dicom"\nlabels = "labels.csv"\n')
        (home / "policy.toml").write_text(POLICY)
        (home / "root.pub").write_bytes(self.federation.root_public)
        (home / "dicom").mkdir()
        (home / "labels.csv").write_text("patient_id,label\n1,clear\n")
        self.site, self.operator = Site(Home(home)), self.federation.operator
        invitation = write_request(self.federation.invitation(RUN, STUDY))
        body = read_reply(self.site.handle(invitation))
        assert isinstance(body, Joined)
        roster = self.federation.signed_roster.digest()
        self.records = (
            body.record,
            *(
                join(new_run_key(), key, site=name, run=RUN, study_hash=study_hash(STUDY), roster_hash=roster)
                for name, key in peers.items()
            ),
        )

    def handle(self, data: bytes) -> None:
        """Ask; what the site itself did not foresee is let through."""
        with patch("client.site.unforeseen", side_effect=_again):
            answer = read_reply(self.site.handle(data))
        if isinstance(answer, Refused):
            raise PeerError(answer.what, expected=answer.expected, got=answer.got)

    def step(self, body: TrainTask | EvaluateTask | SurveyTask, round_: int) -> Step:
        """A step of the run."""
        payload = pack(Task(body=body))
        agreed = terms(
            STUDY, body, payload_digest(payload), cohort=len(self.records), parameters=layout_for(STUDY).size
        )
        plan = Plan(
            **{name: getattr(agreed, name) for name in agreed.__struct_fields__},
            run=RUN,
            study_hash=study_hash(STUDY),
            roster_hash=self.records[0].roster_hash,
            round=round_,
            attempt=1,
            cohort=self.records,
        )
        return Step(plan=plan, payload=memoryview(payload))


def _again(error: Exception) -> Any:
    raise error


def _site(folder: Path) -> Decoder:
    """Any bytes, as the network side hands them over."""
    house = _House(folder)
    step = house.step(SurveyTask(), 0)
    seeds = [pack(sample(Request, pick)) for pick in range(PICKS)]
    seeds += [
        write_request(house.federation.invitation("other", STUDY)),
        write_request(step, house.operator),
        write_request(Unmask(request=b""), house.operator),
    ]
    return Decoder(house.handle, seeds, "msgpack")


def _site_join(folder: Path) -> Decoder:
    """A study that the operator signed, whatever it asks for."""
    house = _House(folder)
    private = replace(
        STUDY, privacy=replace(STUDY.privacy, mode="local", epsilon=8.0, delta=1e-5, clip=1.0, sampling_rate=0.1)
    )

    def read(data: bytes) -> None:
        study, run = unpack(Study, data), hashlib.sha256(data).hexdigest()
        signature = house.operator.sign(STUDY_LABEL, run.encode(), study)
        body = Join(run=run, study=study, signature=signature, roster=house.federation.signed_roster)
        house.handle(write_request(body))

    with suppress(PeerError):
        read(pack(private))  # the accountant is loaded once, in a second of processor time
    return Decoder(read, (pack(STUDY), pack(private)), "msgpack", slow_s=4.0)  # the accountant searches the noise


def _site_step(folder: Path) -> Decoder:
    """A plan and a task that the operator signed, whatever they say."""
    house = _House(folder)

    def read(data: bytes) -> None:
        step = unpack(Step, data)
        if len(data) % 2:  # so that the task is read too
            step = replace(step, plan=replace(step.plan, payload=payload_digest(step.payload)))
        house.handle(write_request(step, house.operator))

    view = memoryview(bytes(4 * layout_for(STUDY).size))
    tasks = (
        (TrainTask(weights=view, class_weights=(1.0, 1.0)), 1),
        (EvaluateTask(weights=view, split=1), 1),
        (SurveyTask(), 0),
    )
    return Decoder(read, [pack(house.step(*task)) for task in tasks], "msgpack")


def _site_survivors(folder: Path) -> Decoder:
    """Confirm and unmask requests that the operator signed, for a plan the site has answered."""
    house, made = _House(folder), _Rehearsal()
    made.close()
    seeds = [made.collector.ask_confirm(made.second.name)]
    made.settle()
    seeds.append(made.collector.request(made.second.name))
    rounds = house.site._rounds  # no images here, so the answered plan is put in its place
    rounds.store(made.plan.digest(), RUN, 1, 1, reply=b"", secrets=made.states[made.second])

    def read(data: bytes) -> None:
        try:
            house.handle(write_request(Confirm(request=data), house.operator))
        except PeerError:
            house.handle(write_request(Unmask(request=data), house.operator))

    return Decoder(read, seeds, "msgpack")


def _frame(folder: Path) -> Decoder:
    """One caller at the agent's socket, or the agent's answer to one."""
    del folder

    def read(data: bytes) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.settimeout(5.0)
            theirs.sendall(data)
            theirs.close()
            kind, length = frames.receive_kind(ours)
            found = frames.receive_data(ours, length)
        if kind == frames.REPORT:
            unpack(NodeReport, found)

    report = pack(sample(NodeReport))
    seeds = [kind + len(report).to_bytes(8, "big") + report for kind in (b"m", b"r", b"s")]
    lengths = [kind + length.to_bytes(8, "big") for kind in (b"m", b"r") for length in (1 << 14, 1 << 30, 1 << 40)]
    return Decoder(read, seeds, "bytes", lengths)


def _flower(folder: Path) -> Decoder:
    """What Flower made of an answer: its own records hold what it likes, ours is taken out."""
    del folder

    def read(data: bytes) -> None:
        try:
            content = recorddict_from_proto(ProtoRecordDict.FromString(data))
        except Exception as error:  # noqa: BLE001  Flower's own reading: its caller logs and goes on
            raise PeerError("Flower", got=type(error).__name__) from None
        open_message(cast(Message, SimpleNamespace(content=content)))

    seed = recorddict_to_proto(wrap(bytes(range(40)))).SerializeToString()
    return Decoder(read, (seed,), "bytes", (b"konsil", b"000001", b"uint8"))


_Maker = Callable[[Path], Decoder]
_SECAGG = "shared/secagg/collector.py", "shared/secagg/rebuild.py", "shared/secagg/packing.py"

PROTOCOL_TARGETS = (
    Target("request", _request, 4, ("shared/messages/requests.py", "shared/messages/version.py", "client/agent.py")),
    Target(
        "reply",
        _reply,
        2,
        ("shared/messages/replies.py", "server/shown.py", "server/receipts.py", "server/contributions.py"),
    ),
    Target("contribution signed", _contribution, 1, _SECAGG),
    Target("open contribution signed", _open_contribution, 1, ("shared/open_sums.py",)),
    Target("confirmation signed", _confirmation, 1, _SECAGG),
    Target("unmask answer signed", _answer, 1, _SECAGG),
    Target("confirm and unmask requests", _member, 2, ("shared/secagg/member.py",)),
    Target("plan", _plan, 2, ("shared/secagg/plan.py", "shared/secagg/joining.py")),
    Target("train task", _train_task, 1, ("client/questions.py",)),
    Target("site", _site, 0.3, ("client/site.py", "client/agreement.py")),
    Target("site: signed study", _site_join, 0.2, ("client/site.py", "client/rounds.py")),
    Target("site: signed step", _site_step, 0.3, ("client/contributing.py", "client/rounds.py", "client/workbench.py")),
    Target("site: signed survivors", _site_survivors, 0.3, ("client/survivors.py", "client/rounds.py")),
    Target("frame", _frame, 2, ("client/frames.py", "client/node_report.py", "client/agent.py")),
    Target("Flower record", _flower, 2, ("shared/relay.py", "server/collect.py", "client/app.py")),
)
