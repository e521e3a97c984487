"""A hospital without images, for crowds: real keys, real masks and the real protocol over Flower's own Fleet client.

Its vectors are made up. Many of them are threads of one process, of which a few at a time hold a message.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.app import Message
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import pull_and_inflate_object_from_tree, push_objects
from flwr.supernode.fleet_http_connection import http_request_response

from shared.counts import count_plain
from shared.crypto import node_key
from shared.crypto.identity import Identity
from shared.crypto.roster import Roster, RosterEntry
from shared.layout import layout_for
from shared.messages.replies import Answered, Confirmed, Contributed, Joined, write_reply
from shared.messages.requests import Confirm, Join, Step, Unmask, read_request
from shared.messages.shown import Shown
from shared.messages.tasks import AnyTask, EvaluateTask, Task, TrainTask, payload_digest
from shared.metrics import BinaryCounts
from shared.relay import open_message, wrap
from shared.secagg.joining import JoinRecord, join, new_run_key
from shared.secagg.member import Plain, RoundState, confirm, contribute, unmask
from shared.secagg.messages import ConfirmRequest, UnmaskRequest
from shared.secagg.plan import Plan, SiteRules, check_plan
from shared.study import study_hash
from shared.survey import Survey, survey_plain
from shared.terms import terms
from shared.update import Codec
from shared.version import SOFTWARE
from shared.wire import unpack

#: Seconds between looks for a message.
POLL_S = 1.0
#: Images that every hospital says it has, by split and by label.
SPLITS, LABELS = (60, 20, 20), (40, 20)


@dataclass
class LightHospital:
    """One of them; `answer` is the agent's part, `serve` the SuperNode's."""

    name: str
    #: where its last reply lies, to be sent again if it is asked again
    folder: Path
    identity: Identity = field(default_factory=Identity.generate)
    node_private: bytes = field(default_factory=node_key.generate)

    def __post_init__(self) -> None:
        self._run_key = new_run_key()
        self._states: dict[bytes, RoundState] = {}
        self._last = b""

    @property
    def entry(self) -> RosterEntry:
        """Its line of the roster."""
        line = node_key.public_form(self.node_private)
        return RosterEntry(name=self.name, identity=self.identity.public, node_key=line.encode())

    def answer(self, request: bytes) -> bytes:
        """What a hospital that agrees to everything says."""
        body = read_request(request)
        if isinstance(body, Join):
            return write_reply(Joined(record=self._join(body), software=SOFTWARE))
        if isinstance(body, Confirm):
            return self._confirm(body)
        if isinstance(body, Unmask):
            return self._unmask(body)
        kept, plan = self.folder / self.name, body.plan.digest()
        if plan != self._last:  # a plan is answered once, and again with the same bytes
            kept.write_bytes(self._step(body))
            self._last = plan
        return kept.read_bytes()

    def serve(self, address: str, authority: bytes, turn: threading.Semaphore, stop: threading.Event) -> None:
        """Answer messages from the SuperLink at `address` until stopped."""
        private = load_ssh_private_key(self.node_private, None)
        if not isinstance(private, EllipticCurvePrivateKey):
            raise TypeError("expected the P-256 key that node_key.generate makes")
        keys = (private, private.public_key())
        with http_request_response(address, False, authority, keys) as (_, receive, send, _, _, pull, push, confirm):
            while not stop.is_set():
                found = receive()
                if found is None:
                    stop.wait(POLL_S)
                    continue
                run = found[0].metadata.run_id
                with turn:
                    message = pull_and_inflate_object_from_tree(
                        found[1], partial(pull, run), partial(confirm, run), return_type=Message
                    )
                    message.metadata.__dict__["_message_id"] = found[1].object_id
                    reply = Message(wrap(self.answer(open_message(message) or b"")), reply_to=message)
                    _push(reply, send, partial(push, run))

    def _join(self, body: Join) -> JoinRecord:
        self._invitation = body
        self._roster = unpack(Roster, body.roster.roster)
        self._record = join(
            self._run_key,
            self.identity,
            site=self.name,
            run=body.run,
            study_hash=study_hash(body.study),
            roster_hash=body.roster.digest(),
        )
        return self._record

    def _step(self, step: Step) -> bytes:
        plan, task = step.plan, unpack(Task, step.payload).body
        study = self._invitation.study
        payload = payload_digest(step.payload)
        agreed = terms(study, task, payload, cohort=len(plan.cohort), parameters=layout_for(study).size)
        seat = check_plan(plan, self._record, self._roster, SiteRules(), agreed)
        masked = contribute(seat, self._plain(plan, task), run_key=self._run_key, identity=self.identity)
        self._states = {seat.digest: masked.state}
        body = Contributed.sign(masked.contribution, masked.vector, Shown(seconds=1.0), self.identity, seat.digest)
        return write_reply(body)

    def _plain(self, plan: Plan, task: AnyTask) -> Plain:
        study = self._invitation.study
        if isinstance(task, TrainTask):
            update = np.full(layout_for(study).size, 1e-4, np.float32)
            codec = Codec.of(study, cohort=len(plan.cohort), parameters=update.size, seed=plan.payload)
            return codec.write(update, sum(LABELS), study.federation.max_images, scaled=False)
        if isinstance(task, EvaluateTask):
            images = np.arange(SPLITS[1])
            return count_plain(BinaryCounts.of((images + 0.5) / len(images), images % 2, images).to_integers())
        return survey_plain(Survey(SPLITS, LABELS, {}))

    def _confirm(self, body: Confirm) -> bytes:
        state = self._states[unpack(ConfirmRequest, body.request).plan]
        signed = confirm(state, body.request, identity=self.identity, rules=SiteRules())
        return write_reply(Confirmed(confirmation=signed))

    def _unmask(self, body: Unmask) -> bytes:
        state = self._states.pop(unpack(UnmaskRequest, body.request).plan)
        return write_reply(Answered(answer=unmask(state, body.request, identity=self.identity, rules=SiteRules())))


def _push(reply: Message, send: Callable[..., tuple[set[str], str]], push: Callable[[str, str, bytes], None]) -> None:
    """As a SuperNode sends what its ClientApp answered."""
    with no_object_id_recompute():
        reply.metadata.__dict__["_message_id"] = reply.object_id
        wanted, session = send(reply, get_object_tree(reply), 0.0)
        push_objects(get_all_nested_objects(reply), partial(push, session), object_ids_to_push=wanted)
