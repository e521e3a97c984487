"""A PACS by DIMSE: what it has (C-FIND), and how we get it (C-GET over the same connection, C-MOVE to our own server).

Study Root information model (PS3.4 C.6.2): studies by the filter, their series, their objects; then whole series, or
the missing objects of one. Guarantees: no wait is longer than the configured silence; a status that is no success is
told, never dropped; nothing of an answer is logged, and only proper UIDs go back into a request.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from client.dicom.scanning.unusual import MALFORMED
from client.dicom.sources.association import Limits, guard, receiver
from client.dicom.sources.base import (
    ASKED_BACK,
    MOST_OBJECTS,
    MOST_STUDIES,
    Object,
    Query,
    Series,
    SilentError,
    queries,
)
from client.dicom.sources.config import Pacs, read_lines
from client.dicom.sources.links import CHECK, FIND, GET, MOST_CLASSES, MOVE, Links
from client.dicom.sources.store import Kept, Store, Why, is_uid
from shared.errors import PeerError

PENDING = (0xFF00, 0xFF01)
#: UIDs of one request: an element of explicit VR UI has a length of 16 bits (PS3.5 7.1.2).
MOST_UIDS = 500


class PacsSource:
    """The PACS of `config`, kept into `store`; relative paths count from `base`. To `retrieve = "move"` a Listener of
    ours must be running, and the PACS must know `our_ae_title` as its address."""

    def __init__(self, config: Pacs, store: Store, base: Path) -> None:
        self._config = config
        self._patients = read_lines(base / config.filter.patients) if config.filter.patients else ()
        self._accessions = read_lines(base / config.filter.accessions) if config.filter.accessions else ()
        self._store = store
        self._wanted: frozenset[str] = frozenset()
        self._refused: Counter[str] = Counter()
        limits = Limits(store.largest, config.timeout_s)
        self._links = Links(config, base, [guard(limits), receiver(store, self._tell, lambda: self._wanted)])
        self.unusable = 0

    @property
    def name(self) -> str:
        """As in sources.toml."""
        return self._config.name

    def series(self) -> Iterator[Series]:
        """The series that match the filter, each once. Raises SilentError, PeerError."""
        asked, seen = self._config.filter, set[str]()
        self.unusable = 0
        with self._links.asking() as association:
            for query in queries(asked, self._patients, self._accessions):
                keys = {"QueryRetrieveLevel": "STUDY", **query.keys()}
                for study in list(self._find(association, keys, MOST_STUDIES)):
                    uid = self._uid(study, "StudyInstanceUID")
                    if uid and query.admits(study, self._links.who):
                        yield from self._series_of(association, uid, query, seen)

    def _series_of(self, association: Any, study: str, query: Query, seen: set[str]) -> Iterator[Series]:
        keys = {
            "QueryRetrieveLevel": "SERIES",
            "StudyInstanceUID": study,
            "Modality": query.modality,
            "SeriesInstanceUID": "",
            "NumberOfSeriesRelatedInstances": "",
        }
        for row in list(self._find(association, keys, MOST_OBJECTS)):
            uid, modality = self._uid(row, "SeriesInstanceUID"), row.get("Modality", "")
            if uid and uid not in seen and (not query.modality or modality == query.modality):
                seen.add(uid)
                told = row.get("NumberOfSeriesRelatedInstances", "")
                yield Series(study, uid, modality, int(told) if told.isdecimal() and len(told) < 8 else 0)

    def objects(self, series: Series) -> tuple[Object, ...]:
        """The objects of a series. Raises SilentError, PeerError."""
        keys = {
            "QueryRetrieveLevel": "IMAGE",
            "StudyInstanceUID": series.study,
            "SeriesInstanceUID": series.uid,
            "SOPInstanceUID": "",
            "SOPClassUID": "",
        }
        found: dict[str, str] = {}
        with self._links.asking() as association:
            for row in self._find(association, keys, MOST_OBJECTS):
                if uid := self._uid(row, "SOPInstanceUID"):
                    found[uid] = row.get("SOPClassUID", "")
        return tuple(Object(uid, sop_class if is_uid(sop_class) else "") for uid, sop_class in found.items())

    def fetch(self, series: Series, objects: tuple[Object, ...], *, whole: bool) -> Counter[str]:
        """Bring `objects`; how many failed, by status. Raises SilentError, PeerError."""
        self._refused.clear()
        self._wanted = frozenset(self._store.sop(one.uid) for one in objects)
        failed = Counter[str]()
        if self._config.retrieve == "move":
            with self._links.asking() as association:
                for wanted in _identifiers(series, objects, whole):
                    answers = association.send_c_move(wanted, self._config.our_ae_title, MOVE)
                    failed += self._outcome(answers)
            return failed
        for classes in _groups(objects):
            part = tuple(one for one in objects if one.sop_class in classes)
            with self._links.getting(classes) as association:
                for wanted in _identifiers(series, part, whole and len(part) == len(objects)):
                    failed += self._outcome(association.send_c_get(wanted, GET))
        # what we refused is told by our own reason, not by the status the PACS made of it
        return self._refused + Counter() if self._refused else failed

    def _outcome(self, answers: Iterator[tuple[Dataset, Dataset | None]]) -> Counter[str]:
        """What a retrieval's last answer says failed (PS3.4 C.4.2.1.6, C.4.3.1.6)."""
        status = Dataset()
        for status, _ in answers:  # noqa: B007  the last one counts
            pass
        if "Status" not in status:
            raise SilentError(self._links.who, expected="an answer to a retrieval", got="none", do=CHECK)
        failed = int(status.get("NumberOfFailedSuboperations") or 0)
        if status.Status == 0 and not failed:
            return Counter()
        return Counter({f"0x{status.Status:04X}": failed or 1})

    def _find(self, association: Any, keys: dict[str, str], most: int) -> Iterator[dict[str, str]]:
        """The answers to a C-FIND as texts. Raises SilentError, PeerError for a status that is a failure."""
        identifier = Dataset()
        if not all(value.isascii() for value in keys.values()):
            identifier.SpecificCharacterSet = "ISO_IR 192"
        for keyword, value in keys.items():
            setattr(identifier, keyword, value)
        for count, (status, row) in enumerate(association.send_c_find(identifier, FIND)):
            if "Status" not in status:
                raise SilentError(self._links.who, expected="an answer to a query", got="none", do=CHECK)
            if count > most:
                raise PeerError(self._links.who, expected=f"at most {most} answers to a query", got="more")
            if status.Status in PENDING:
                yield _texts(row)
            elif status.Status != 0:
                got = f"status 0x{status.Status:04X}"
                raise PeerError(self._links.who, expected="an answer to a query", got=got, do="Ask its administrator.")

    def _uid(self, row: dict[str, str], keyword: str) -> str:
        """The UID in `row`; empty, and counted, where it is none."""
        uid = row.get(keyword, "")
        if uid and is_uid(uid):
            return uid
        self.unusable += 1
        return ""

    def close(self) -> None:
        """Release what is open."""
        self._links.close()

    def _tell(self, outcome: Kept | Why) -> None:
        if isinstance(outcome, Why):
            self._refused[outcome.value] += 1


def _texts(row: Dataset | None) -> dict[str, str]:
    """The texts of an answer, as they were sent: nothing is converted, so nothing can fail or warn of what it reads."""
    if row is None:
        return {}
    found = {}
    for keyword in ASKED_BACK:
        with suppress(*MALFORMED):  # a representation that is none
            value = getattr(row.get_item(tag_for_keyword(keyword) or 0), "value", None)
            if isinstance(value, bytes):
                found[keyword] = value.decode("utf-8", "replace").strip("\0 ")
    return found


def _identifiers(series: Series, objects: tuple[Object, ...], whole: bool) -> Iterator[Dataset]:
    """What to ask a retrieval for: the series, or lists of its objects (PS3.4 C.4.2.2.1)."""
    for first in range(0, 1 if whole else len(objects), MOST_UIDS):
        wanted = Dataset()
        wanted.QueryRetrieveLevel = "SERIES" if whole else "IMAGE"
        wanted.StudyInstanceUID, wanted.SeriesInstanceUID = series.study, series.uid
        if not whole:
            wanted.SOPInstanceUID = [one.uid for one in objects[first : first + MOST_UIDS]]
        yield wanted


def _groups(objects: tuple[Object, ...]) -> Iterator[tuple[str, ...]]:
    """The SOP classes of `objects`, as many at a time as one association has contexts for; unknown ones by
    themselves."""
    classes = sorted({one.sop_class for one in objects})
    if classes[:1] == [""]:
        yield ("",)
        classes = classes[1:]
    for first in range(0, len(classes), MOST_CLASSES):
        yield tuple(classes[first : first + MOST_CLASSES])
