"""Bring everything a filter asks for from a source into the store, and account for every object.

Guarantees: asked = here + received + failed, for each series and in all; nothing is skipped without being counted. A
pull that was killed goes on with what is missing: what is here is found in the store, not believed. Who does not answer
is asked again after pauses that double; a series that stayed incomplete in GIVEN_UP pulls is left alone until `again`.

    report = pull(source, store, journal, attempts=3, pause_s=2.0)
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from client.dicom.sources.base import Object, Series, SilentError, Source
from client.dicom.sources.journal import Journal, Past
from client.dicom.sources.store import Store, Why
from shared.errors import PeerError

GIVEN_UP = 3
#: Series in a row without a proper answer after which a source counts as down.
SILENT = 3
NO_ANSWER, NOT_LISTED, NOT_SENT = "no answer", "not listed", "not sent"
LONGEST_PAUSE_S = 300.0

Progress = Callable[[int, int], None]
T = TypeVar("T")


@dataclass(frozen=True)
class PullReport:
    """Of one source. `asked` objects of `series` series match; `here` of them were in the store before, `received` came
    now, `failed` did not, for the reasons that `statuses` count. `incomplete` series miss objects, `given_up` of them
    were not asked for again; `unusable` answers had no proper UID. `trouble`: why the pull ended early, empty if it did
    not."""

    source: str
    series: int
    asked: int
    here: int
    received: int
    failed: int
    incomplete: int
    given_up: int
    unusable: int
    statuses: Mapping[str, int]
    trouble: str
    seconds: float

    @property
    def whole(self) -> bool:
        """Whether everything that was asked for is here."""
        return not (self.failed or self.unusable or self.trouble)


@dataclass(frozen=True)
class _Outcome:
    """Of one series; `silent`: nobody answered to the end, or not as they should."""

    asked: int
    here: int
    received: int = 0
    statuses: Mapping[str, int] = field(default_factory=dict)
    given_up: bool = False
    silent: bool = False

    @property
    def failed(self) -> int:
        return self.asked - self.here - self.received


def pull(
    source: Source,
    store: Store,
    journal: Journal,
    *,
    attempts: int,
    pause_s: float,
    again: bool = False,
    progress: Progress | None = None,
) -> PullReport:
    """Pull `source`. `progress` gets series done and in all. What goes wrong is told in the report; only the journal's
    own trouble (SiteError) is raised."""
    start, outcomes, trouble, silent = time.monotonic(), list[_Outcome](), "", 0
    one = _Puller(source, store, journal, attempts=attempts, pause_s=pause_s, again=again)
    try:
        rows = one.answered(lambda: list(source.series()))
        for done, row in enumerate(rows, start=1):
            outcomes.append(one.series(row))
            silent = silent + 1 if outcomes[-1].silent else 0
            if progress:
                progress(done, len(rows))
            if silent >= SILENT or Why.DISK.value in outcomes[-1].statuses:
                trouble = "it no longer answers as it should" if silent >= SILENT else Why.DISK.value
                break
    except PeerError as error:
        trouble = str(error)
    finally:
        source.close()
    return _report(source, outcomes, trouble, time.monotonic() - start)


class _Puller:
    """Pulls one series after another."""

    def __init__(
        self, source: Source, store: Store, journal: Journal, *, attempts: int, pause_s: float, again: bool
    ) -> None:
        self._source, self._store, self._journal = source, store, journal
        self._attempts, self._pause_s, self._again = attempts, pause_s, again

    def answered(self, ask: Callable[[], T]) -> T:
        """What `ask` returns, at the first attempt that is answered. Raises the last attempt's SilentError."""
        for attempt in range(self._attempts - 1):
            try:
                return ask()
            except SilentError:
                time.sleep(self._pause(attempt))
        return ask()

    def series(self, row: Series) -> _Outcome:
        """Bring what is missing of a series and remember how it went."""
        past, held = self._journal.past(self._source.name, row.uid), self._store.held(row.uid)
        if past and past.told == row.told:
            if row.told and len(held) >= past.asked:
                return _Outcome(past.asked, past.asked)
            if past.tries >= GIVEN_UP and not self._again:
                here = min(len(held), past.asked)
                return _Outcome(past.asked, here, statuses={"given up": past.asked - here}, given_up=True)
        outcome = self._fetch(row, held)
        tries = (past.tries if past else 0) + 1 if outcome.failed else 0
        if not outcome.silent:  # a server that is down says nothing about the series
            self._journal.write(
                self._source.name, row.uid, Past(row.told, outcome.asked, outcome.here + outcome.received, tries)
            )
        return outcome

    def _fetch(self, row: Series, held: frozenset[str]) -> _Outcome:
        try:
            objects = self.answered(lambda: self._source.objects(row))
        except PeerError as error:
            return _unlisted(row, held, _said(error))
        if not objects:
            return _unlisted(row, held, NOT_LISTED)
        missing = first = self._missing(objects, held)
        failed, silent = Counter[str](), False
        for attempt in range(self._attempts):
            if not missing:
                break
            if attempt:
                time.sleep(self._pause(attempt - 1))
            silent = False
            try:
                failed = self._source.fetch(row, missing, whole=len(missing) == len(objects))
            except PeerError as error:
                failed, silent = Counter({_said(error): len(missing)}), True
            missing = self._missing(objects, self._store.held(row.uid))
        unsaid = len(missing) - failed.total()
        if unsaid > 0:
            failed[NOT_SENT] += unsaid
        return _Outcome(
            asked=len(objects),
            here=len(objects) - len(first),
            received=len(first) - len(missing),
            statuses=failed if missing else {},
            silent=silent and bool(missing),
        )

    def _missing(self, objects: tuple[Object, ...], held: frozenset[str]) -> tuple[Object, ...]:
        return tuple(one for one in objects if self._store.sop(one.uid) not in held)

    def _pause(self, attempt: int) -> float:
        return float(min(self._pause_s * 2**attempt, LONGEST_PAUSE_S))


def _unlisted(row: Series, held: frozenset[str], why: str) -> _Outcome:
    """Of a series whose objects we were not told: what it is said to have is missing, one object at least."""
    asked = max(row.told, len(held) + 1)
    return _Outcome(asked, len(held), statuses={why: asked - len(held)}, silent=True)


def _said(error: PeerError) -> str:
    return NO_ANSWER if isinstance(error, SilentError) else error.got


def _report(source: Source, outcomes: list[_Outcome], trouble: str, seconds: float) -> PullReport:
    statuses = Counter[str]()
    for outcome in outcomes:
        statuses.update(outcome.statuses)
    return PullReport(
        source=source.name,
        series=len(outcomes),
        asked=sum(outcome.asked for outcome in outcomes),
        here=sum(outcome.here for outcome in outcomes),
        received=sum(outcome.received for outcome in outcomes),
        failed=sum(outcome.failed for outcome in outcomes),
        incomplete=sum(outcome.failed > 0 for outcome in outcomes),
        given_up=sum(outcome.given_up for outcome in outcomes),
        unusable=source.unusable,
        statuses=dict(sorted(statuses.items())),
        trouble=trouble,
        seconds=round(seconds, 3),
    )
