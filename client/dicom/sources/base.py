"""What a source of images is to those who pull from it: series that match a filter, their objects, and a way to fetch.

A source keeps what it fetches into the store itself and tells only what failed; what arrived is counted in the store.
UIDs are identities: they are kept out of every repr, and no error carries one.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from fnmatch import fnmatchcase
from typing import Protocol

from client.dicom.sources.config import Filter
from shared.errors import PeerError

#: More studies, or series and objects of one, than any archive has: a server that goes on is not believed.
MOST_STUDIES, MOST_OBJECTS = 1_000_000, 200_000

#: What is read of an answer to a query.
ASKED_BACK = (
    "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "Modality", "StudyDate",
    "StudyDescription", "PatientID", "AccessionNumber", "NumberOfSeriesRelatedInstances",
)  # fmt: skip


class SilentError(PeerError):
    """The peer did not answer, or broke off: worth another try."""


@dataclass(frozen=True)
class Series:
    """A series at a source; `told` is how many objects the source says it has, 0 if it does not say."""

    study: str = field(repr=False)
    uid: str = field(repr=False)
    modality: str = ""
    told: int = 0


@dataclass(frozen=True)
class Object:
    """An object of a series; `sop_class` is empty where the source does not say."""

    uid: str = field(repr=False)
    sop_class: str = ""


class Source(Protocol):
    """A PACS or a DICOMweb server. Every method raises SilentError or PeerError."""

    @property
    def name(self) -> str:
        """As in sources.toml."""

    @property
    def unusable(self) -> int:
        """Rows of answers so far that had no UID, or one that is none: nothing can be asked of them."""

    def series(self) -> Iterator[Series]:
        """The series that match the filter, each once."""

    def objects(self, series: Series) -> tuple[Object, ...]:
        """The objects of a series."""

    def fetch(self, series: Series, objects: tuple[Object, ...], *, whole: bool) -> Counter[str]:
        """Bring `objects`, all of the series if `whole`, into the store; how many failed, by what was said of them."""

    def close(self) -> None:
        """Let go of connections."""


@dataclass(frozen=True)
class Query:
    """One question at study level: what the filter asks, with one modality and one patient or accession number."""

    filter: Filter
    modality: str = ""
    patient: str = field(default="", repr=False)
    accession: str = field(default="", repr=False)

    def keys(self) -> dict[str, str]:
        """Matching keys by keyword (PS3.4 C.2.2.2); the empty ones are asked back, and match everything."""
        return {
            "StudyDate": dates(self.filter.study_from, self.filter.study_until),
            "ModalitiesInStudy": self.modality,
            "StudyDescription": self.filter.description,
            "PatientID": self.patient,
            "AccessionNumber": self.accession,
            "StudyInstanceUID": "",
        }

    def admits(self, row: Mapping[str, str], who: str) -> bool:
        """Whether `who`'s answer about a study is what was asked: servers ignore keys they do not support, and other
        patients' images are none of our business. Raises PeerError for an answer that leaves out what the filter is
        about: nobody could tell then."""
        keys = {keyword: key for keyword, key in self.keys().items() if key and keyword != "ModalitiesInStudy"}
        for keyword in keys.keys() - row.keys():
            do = f"This server cannot choose by {keyword}: leave that out of its filter in sources.toml."
            raise PeerError(who, expected=f"answers with {keyword}", got="one without", do=do)
        return all(self._matches(keyword, key, row[keyword]) for keyword, key in keys.items())

    def _matches(self, keyword: str, key: str, value: str) -> bool:
        if keyword == "StudyDate":
            first, last = self.filter.study_from, self.filter.study_until
            day = value.replace(".", "")  # dates of ACR-NEMA times have dots
            return bool(day) and (f"{first:%Y%m%d}" if first else "0") <= day <= (f"{last:%Y%m%d}" if last else "9")
        if keyword == "StudyDescription":
            return fnmatchcase(value.casefold(), key.replace("[", "[[]").casefold())
        return value == key


def queries(asked: Filter, patients: tuple[str, ...] = (), accessions: tuple[str, ...] = ()) -> Iterator[Query]:
    """One question per modality and per patient or accession number: DIMSE has lists for UIDs only (PS3.4
    C.2.2.2.2)."""
    for modality in asked.modalities or ("",):
        for patient in patients or ("",):
            for accession in accessions or ("",):
                yield Query(asked, modality, patient, accession)


def dates(first: date | None, last: date | None) -> str:
    """Range matching (PS3.4 C.2.2.2.5): "20200101-", "-20201231", "20200101-20201231"; empty for every date."""
    if not first and not last:
        return ""
    return f"{f'{first:%Y%m%d}' if first else ''}-{f'{last:%Y%m%d}' if last else ''}"
