"""A DICOMweb server: what it has (QIDO-RS), and how we get it (WADO-RS), PS3.18 sections 10.6 and 10.4.

dicomweb-client asks the questions; objects come over the same session without it, because it would decode each one in
memory: we write the bytes of a part to disk as they arrive. Guarantees: a search ends, whatever the server does: pages
are asked for until one is empty, brings nothing new (the server ignores `offset`) or the server has said more than any
archive holds; no half object is kept; an object that is not one of those asked for is not taken.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dicomweb_client import DICOMwebClient
from pydicom.datadict import tag_for_keyword

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
from client.dicom.sources.config import Web, read_lines
from client.dicom.sources.http import Session, told
from client.dicom.sources.multipart import BrokenError, boundary_of, parts
from client.dicom.sources.store import RefusedError, Store, is_uid
from shared.errors import PeerError

#: As it is stored there, whatever that is (PS3.18 8.7.3.5.2).
ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
CHUNK = 1 << 18

Row = dict[str, str]
Search = Callable[..., list[Any]]


class WebSource:
    """The server of `config`, kept into `store`; relative paths count from `base`."""

    def __init__(self, config: Web, store: Store, base: Path) -> None:
        self._config, self._store = config, store
        self._patients = read_lines(base / config.filter.patients) if config.filter.patients else ()
        self._accessions = read_lines(base / config.filter.accessions) if config.filter.accessions else ()
        self._session = Session(config, base)
        self._url = config.url.rstrip("/")
        self._client = DICOMwebClient(self._url, session=self._session, timeout=config.timeout_s)
        self._client.set_http_retry_params(retry=False)  # the session does it, for objects too
        self.unusable = 0

    @property
    def name(self) -> str:
        """As in sources.toml."""
        return self._config.name

    def series(self) -> Iterator[Series]:
        """The series that match the filter, each once. Raises SilentError, PeerError."""
        seen = set[str]()
        self.unusable = 0
        for query in queries(self._config.filter, self._patients, self._accessions):
            # the description is compared here: its wildcards travel as %2A, which some servers (Orthanc 1.10) do not
            # read
            asked = {keyword: key for keyword, key in query.keys().items() if key and keyword != "StudyDescription"}
            rows = self._all("StudyInstanceUID", MOST_STUDIES, self._client.search_for_studies, asked)
            for study, row in rows.items():
                if query.admits(row, f"DICOMweb server {self.name}"):
                    yield from self._series_of(study, query, seen)

    def _series_of(self, study: str, query: Query, seen: set[str]) -> Iterator[Series]:
        asked = {"Modality": query.modality} if query.modality else {}

        def search(**page: Any) -> list[Any]:
            return self._client.search_for_series(study, **page)

        for uid, row in self._all("SeriesInstanceUID", MOST_OBJECTS, search, asked).items():
            modality, told_of = row.get("Modality", ""), row.get("NumberOfSeriesRelatedInstances", "")
            if uid not in seen and (not query.modality or modality == query.modality):
                seen.add(uid)
                yield Series(study, uid, modality, int(told_of) if told_of.isdecimal() and len(told_of) < 8 else 0)

    def objects(self, series: Series) -> tuple[Object, ...]:
        """The objects of a series. Raises SilentError, PeerError."""

        def search(**page: Any) -> list[Any]:
            return self._client.search_for_instances(series.study, series.uid, **page)

        rows = self._all("SOPInstanceUID", MOST_OBJECTS, search, {})
        return tuple(Object(uid, row.get("SOPClassUID", "")) for uid, row in rows.items())

    def fetch(self, series: Series, objects: tuple[Object, ...], *, whole: bool) -> Counter[str]:
        """Bring `objects`; how many failed, by status. Raises SilentError, PeerError."""
        url = f"{self._url}/studies/{series.study}/series/{series.uid}"
        wanted = frozenset(self._store.sop(one.uid) for one in objects)
        if whole:
            return self._retrieve(url, wanted)
        failed = Counter[str]()
        for one in objects:
            failed += self._retrieve(f"{url}/instances/{one.uid}", wanted)
        return failed

    def close(self) -> None:
        """Let go of connections."""
        self._session.close()

    def _retrieve(self, url: str, wanted: frozenset[str]) -> Counter[str]:
        """Keep the objects of one answer; how many were refused, and why."""
        failed = Counter[str]()
        with told(self.name), self._session.get(url, headers={"Accept": ACCEPT}, stream=True) as answer:
            if answer.status_code != 200:
                return Counter({f"HTTP {answer.status_code}": 1})
            chunks = answer.iter_content(CHUNK)
            kind = answer.headers.get("Content-Type", "")
            try:
                alone = kind.partition(";")[0].strip().lower() == "application/dicom"  # what some send for one object
                for part in iter([chunks]) if alone else parts(chunks, boundary_of(kind)):
                    try:
                        self._store.keep(part, wanted=wanted)
                    except RefusedError as refused:
                        failed[refused.why.value] += 1
            except BrokenError:
                expected = "whole objects, as multipart"
                raise SilentError(f"DICOMweb server {self.name}", expected=expected, got="less") from None
        return failed

    def _all(self, key: str, most: int, search: Search, asked: dict[str, str]) -> dict[str, Row]:
        """All answers to a search by the UID `key`, page by page."""
        found: dict[str, Row] = {}
        fields = ("StudyDescription",) if key == "StudyInstanceUID" else ()
        offset, who = 0, f"DICOMweb server {self.name}"
        while len(found) <= most:
            with told(self.name):
                page = search(limit=self._config.page, offset=offset, search_filters=asked, fields=fields)
                if not isinstance(page, list):
                    raise ValueError
            rows = [_texts(row) for row in page]
            proper = {row[key]: row for row in rows if is_uid(row.get(key, ""))}
            if not rows or (proper and proper.keys() <= found.keys()):
                if len(rows) >= self._config.page:
                    do = "Raise `page` in sources.toml above the number of results, or narrow the filter."
                    raise PeerError(who, expected="the next page of a search", got="the same one again", do=do)
                return found
            self.unusable += len(rows) - sum(is_uid(row.get(key, "")) for row in rows)
            found.update(proper)
            offset += len(rows)
        raise PeerError(who, expected=f"at most {most} answers to a search", got="more")


def _texts(row: Any) -> Row:
    """The first value of each attribute we ask for (PS3.18 F.2), as text; anything else in the answer is passed
    over."""
    found: Row = {}
    for keyword in ASKED_BACK:
        element = row.get(f"{tag_for_keyword(keyword):08X}") if isinstance(row, dict) else None
        if isinstance(element, dict):
            values = element.get("Value", [""])
            if isinstance(values, list) and values and isinstance(values[0], str | int):
                found[keyword] = str(values[0]).strip("\0 ")
    return found
