"""What a study makes of an entry: its findings, or the one reason why it is left out.

Guarantees: the rules stand in a fixed order, the first that speaks decides. Of the whole files with the same SOP
Instance UID one is used: that whose series has the most objects, so that a part of a series never tears holes
into a complete copy of it; of series of the same size that with the first path; within a series the first by path.
"""

from collections.abc import Collection

from client.dicom.labels.table import Labels
from client.dicom.reasons import Reason
from client.dicom.scanning.catalog import Catalog
from client.dicom.scanning.entry import Entry, place_of
from shared.study import Input

#: A file's path and member, and what orders series.
Path = tuple[bytes, bytes]
Rank = tuple[int, Path]
_UNRANKED: Rank = (0, (b"", b""))

#: (0008,0068) of raw detector data; anything else is taken for an image to be looked at (PS3.3 C.8.11.1)
FOR_PROCESSING = "FOR PROCESSING"


def judge(
    entry: Entry,
    *,
    repeated: frozenset[bytes],
    spec: Input | None = None,
    labels: Labels | None = None,
    about: Collection[str] = (),
) -> tuple[str, ...] | Reason:
    """The findings of `entry`, () without `labels`, or why it is left out.

    `repeated` as `repeated_files` gives it; `spec` is the study's and `about` its labels: without them nothing is
    asked for.
    """
    if entry.fault:
        return Reason(entry.fault)
    if entry.file in repeated:
        return Reason.DUPLICATE
    if spec and (reason := _unwanted(entry, spec)):
        return reason
    return labels.of(entry, about) if labels else ()


def _unwanted(entry: Entry, spec: Input) -> Reason | None:
    """Why the study does not ask for such an image."""
    if entry.modality not in spec.modalities:
        return Reason.WRONG_MODALITY
    if (entry.intent == FOR_PROCESSING) != (spec.intent == "processing"):
        return Reason.WRONG_INTENT
    if spec.frames == "none" and entry.number_of_frames > 1:
        return Reason.MULTI_FRAME
    return None


def repeated_files(catalog: Catalog, key: bytes) -> frozenset[bytes]:
    """The files whose object another file holds that goes before them."""
    ranks = _ranks(catalog, key)
    later = set[bytes]()
    for files in catalog.repeated():
        ordered = sorted(files, key=lambda entry: (ranks.get(entry.series, _UNRANKED), _order(key, entry)))
        later.update(entry.file for entry in ordered[1:])
    return frozenset(later)


def _ranks(catalog: Catalog, key: bytes) -> dict[bytes, Rank]:
    """Series that share objects with others, and what orders them: the largest first, then by their first path."""
    first = dict[bytes, Path]()
    for files in catalog.repeated():
        if len({entry.series for entry in files}) > 1:
            for entry in files:
                place = _order(key, entry)
                first[entry.series] = min(first.get(entry.series, place), place)
    return {series: (-catalog.objects_of(series), place) for series, place in first.items()}


def _order(key: bytes, entry: Entry) -> Path:
    place = place_of(key, entry)
    return place.path.encode("utf-8", "surrogateescape"), place.member.encode("utf-8", "surrogatepass")
