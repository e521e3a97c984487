"""Pulling: every object is accounted for, whatever the source does."""

from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from pydicom.dataset import Dataset

from client.dicom.sources.base import Object, Series, SilentError
from client.dicom.sources.journal import Journal
from client.dicom.sources.pull import GIVEN_UP, PullReport, pull
from client.dicom.sources.store import RefusedError, Store
from shared.errors import PeerError
from tests.client.dicom.sources.peers import IMAGES, KEY, files

Encode = Callable[[Dataset], bytes]


class Script:
    """A source with IMAGES that does as it is told: `silences` times no answer before each answer, objects of
    `withheld` numbers never sent, whether it is `told` how many a series has."""

    name = "script"

    def __init__(self, store: Store, encode: Encode) -> None:
        self.store, self.encode = store, encode
        self.unusable = 0
        self.silences: dict[str, int] = {}
        self.withheld: set[int] = set()
        self.told = True
        self.closed = False
        self.asked: list[tuple[str, int]] = []

    def _answer(self, what: str) -> None:
        if self.silences.get(what, 0):
            self.silences[what] -= 1
            raise SilentError("script", expected="an answer", got="none")

    def series(self) -> Iterator[Series]:
        self._answer("series")
        counts = Counter((str(one.StudyInstanceUID), str(one.SeriesInstanceUID)) for one in IMAGES)
        for (study, uid), count in counts.items():
            yield Series(study, uid, "CT", count if self.told else 0)

    def objects(self, series: Series) -> tuple[Object, ...]:
        self._answer("objects")
        self.asked.append(("objects", 0))
        return tuple(Object(str(one.SOPInstanceUID)) for one in IMAGES if one.SeriesInstanceUID == series.uid)

    def fetch(self, series: Series, objects: tuple[Object, ...], *, whole: bool) -> Counter[str]:
        self.asked.append(("series" if whole else "list", len(objects)))
        wanted, failed = {one.uid for one in objects}, Counter[str]()
        for one in IMAGES:
            if str(one.SOPInstanceUID) in wanted and IMAGES.index(one) not in self.withheld:
                try:
                    self.store.keep([self.encode(one)])
                except RefusedError as refused:
                    failed[refused.why.value] += 1
        self._answer("fetch")
        return failed

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def script(store: Store, encoded: Encode) -> Script:
    return Script(store, encoded)


def go(script: Script, journal: Journal, *, attempts: int = 2, again: bool = False) -> PullReport:
    report = pull(script, script.store, journal, attempts=attempts, pause_s=0.001, again=again)
    assert report.asked == report.here + report.received + report.failed
    assert report.failed == 0 or sum(report.statuses.values()) >= report.failed
    return report


def test_all_of_it_then_nothing(script: Script, journal: Journal) -> None:
    first = go(script, journal)
    assert (first.series, first.asked, first.here, first.received, first.failed) == (4, 10, 0, 10, 0)
    assert first.whole
    assert script.closed
    script.asked.clear()
    second = go(script, journal)
    assert (second.series, second.asked, second.here, second.received) == (4, 10, 10, 0)
    assert script.asked == [], "what is here is not even asked about"


def test_only_what_is_missing_is_fetched(script: Script, journal: Journal) -> None:
    go(script, journal)
    files(script.store)[0].unlink()
    script.asked.clear()
    report = go(script, journal)
    assert (report.here, report.received) == (9, 1)
    assert [one for one in script.asked if one[0] != "objects"] == [("list", 1)] or len(files(script.store)) == 10


def test_a_source_that_tells_no_counts_is_asked_for_its_objects(script: Script, journal: Journal) -> None:
    script.told = False
    go(script, journal)
    script.asked.clear()
    assert go(script, journal).here == 10
    assert script.asked == [("objects", 0)] * 4


def test_without_the_journal_the_store_is_believed(
    script: Script, journal: Journal, tmp_path_factory: pytest.TempPathFactory
) -> None:
    go(script, journal)
    with Journal(tmp_path_factory.mktemp("other") / "sources.sqlite", KEY) as empty:
        report = go(script, empty)
    assert (report.here, report.received) == (10, 0)


@pytest.mark.parametrize("what", ["series", "objects", "fetch"])
def test_one_silence_costs_nothing(script: Script, journal: Journal, what: str) -> None:
    script.silences[what] = 1
    report = go(script, journal)
    assert (report.asked, report.failed, report.trouble) == (10, 0, "")


def test_a_source_that_is_down_ends_the_pull_and_says_so(script: Script, journal: Journal) -> None:
    script.silences["series"] = 99
    report = go(script, journal)
    assert "expected an answer" in report.trouble
    assert not report.whole
    assert script.closed


def test_a_source_that_goes_down_is_not_asked_for_ever(script: Script, journal: Journal) -> None:
    script.silences["objects"] = 99
    report = go(script, journal)
    assert (report.series, report.trouble) == (3, "it no longer answers as it should")
    assert report.statuses == {"no answer": report.failed}
    script.silences.clear()
    assert go(script, journal).received == 10, "and is believed once it is back"


def test_a_series_whose_objects_nobody_lists_is_not_passed_over(
    script: Script, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the source says how many it has or not, it is told as missing."""
    monkeypatch.setattr(script, "objects", lambda _: ())
    report = go(script, journal)
    assert (report.series, report.failed, report.statuses) == (3, 7, {"not listed": 7})
    script.told = False
    report = go(script, journal)
    assert (report.series, report.failed, report.incomplete, report.whole) == (3, 3, 3, False)


def test_what_is_not_sent_is_told_and_asked_for_again_until_given_up(script: Script, journal: Journal) -> None:
    script.withheld = {0}
    for _ in range(GIVEN_UP):
        report = go(script, journal)
        assert (report.failed, report.incomplete, report.statuses) == (1, 1, {"not sent": 1})
    script.asked.clear()
    report = go(script, journal)
    assert (report.failed, report.given_up, report.statuses) == (1, 1, {"given up": 1})
    assert script.asked == []
    script.withheld.clear()
    assert go(script, journal, again=True).received == 1
    assert go(script, journal).whole


def test_a_full_disk_ends_the_pull(script: Script, journal: Journal) -> None:
    script.store.floor = 1 << 62
    report = go(script, journal)
    assert (report.series, report.received) == (1, 0)
    assert report.trouble == "no room on the disk, or it cannot be written"


def test_what_a_source_forbids_is_told_and_ends_the_pull(
    script: Script, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> tuple[Object, ...]:
        raise PeerError("script", expected="an answer", got="status 0xA900")

    monkeypatch.setattr(script, "objects", refuse)
    report = go(script, journal)
    assert (report.series, report.failed, report.statuses) == (3, 7, {"status 0xA900": 7})


def test_answers_without_a_uid_are_told(script: Script, journal: Journal) -> None:
    script.unusable = 2
    report = go(script, journal)
    assert (report.unusable, report.failed, report.whole) == (2, 0, False)


def test_progress_is_in_series(script: Script, journal: Journal) -> None:
    steps: list[tuple[int, int]] = []
    pull(script, script.store, journal, attempts=1, pause_s=0, progress=lambda done, of: steps.append((done, of)))
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
