"""PROTOCOL.md step 1: a plan and its task out to the cohort, masked vectors in, each added to the sum as it comes.

Guarantees: a hospital that does not answer, refuses, or sends what the protocol forbids is left out with a reason and
stops nobody else; one vector is in memory, however many hospitals.
"""

import time
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from server.asking import Asking
from server.attendance import step_kind
from server.collect import Arrival
from server.initial import file_of
from server.open_plan import OpenPlan
from server.shown import check_shown, said
from shared.crypto.roster import Roster
from shared.errors import PeerError
from shared.messages.replies import Contributed, Refused, read_reply
from shared.messages.requests import Step, write_request
from shared.messages.shown import Shown
from shared.messages.tasks import AnyTask, SurveyTask, Task
from shared.open_sums import OpenCollector
from shared.secagg.collector import Collector
from shared.secagg.plan import Plan
from shared.study import Study
from shared.wire import pack

#: answered so far, asked in all
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Contributions:
    """Of members of the `roster`, for `study`; `folder`: of the run, where the file of its model.init lies."""

    asking: Asking
    roster: Roster
    study: Study
    folder: Path | None

    def collect(
        self,
        collector: Collector | OpenCollector,
        opened: OpenPlan,
        task: AnyTask,
        missing: dict[str, str],
        progress: Progress,
    ) -> dict[str, Shown]:
        """Add the vectors up as they come in; `missing` gains whoever is not in the sum."""
        members, plan, shown = self.asking.members, opened.plan, dict[str, Shown]()
        asked = opened.asked
        progress(0, len(opened.asked))
        while asked:
            given = members.lacking.intersection(asked)
            requests = self._requests(plan, task, asked, given)
            for name, arrival in self.asking.ask(requests, plan.round, plan.step):
                found = self._take(collector, name, task, arrival)
                if isinstance(found, Shown):
                    shown[name] = found
                    missing.pop(name, None)
                else:
                    missing[name] = found
                progress(len(shown), len(opened.asked))
                del arrival  # as long as the model: not held while the next one comes in
            asked = tuple(sorted(members.lacking.intersection(asked, members.nodes) - given))  # who found out only now
        return shown

    def _requests(self, plan: Plan, task: AnyTask, asked: Sequence[str], given: Set[str]) -> dict[str, bytes]:
        """The step for each member, with the study's start weights beside it for those `given` them."""
        step = Step(plan=plan, payload=memoryview(pack(Task(body=task))))
        plain, whole = write_request(step, self.asking.operator), b""
        if given and self.folder is not None and not isinstance(task, SurveyTask):
            file = file_of(self.study, self.folder)
            whole = write_request(replace(step, init=memoryview(file)), self.asking.operator)
        return {name: whole or plain if name in given else plain for name in asked}

    def _take(self, collector: Collector | OpenCollector, name: str, task: AnyTask, arrival: Arrival) -> Shown | str:
        """What `name` shows beside the vector that is now in the sum, or why it is not."""
        if arrival.data is None:
            return arrival.problem
        members = self.asking.members
        try:
            body = read_reply(arrival.data)
            if isinstance(body, Refused):
                members.refuse(name, step_kind(task), body, time.monotonic())
                return said(body.reason)
            if not isinstance(task, SurveyTask):  # which nobody needs them for
                members.lacking.discard(name)
            if not isinstance(body, Contributed):
                raise PeerError("reply", expected="a contribution", got=type(body).__name__)
            body.check(self.roster.identity(name), collector.digest)
            check_shown(body.shown, self.study)
            site = collector.add(body.contribution, body.vector)
            if site != name:
                raise PeerError("contribution", expected=f"one of {name}", got=f"one of {site}")
        except PeerError as error:
            return said(str(error))
        return body.shown
