"""What a study makes of an entry: its findings, or the one reason why it is left out.

Guarantees: the rules stand in a fixed order, the first that speaks decides; of files with the same SOP Instance UID
the first by path is used, among those that are whole.
"""

from collections.abc import Collection

from client.dicom.labels.table import Labels
from client.dicom.reasons import Reason
from client.dicom.scanning.catalog import Catalog
from client.dicom.scanning.entry import Entry, place_of
from shared.study import Input

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
    """The files that hold the same object as a whole file before them, in the order of paths."""
    later = set[bytes]()
    for files in catalog.repeated():
        ordered = sorted(files, key=lambda entry: _order(key, entry))
        later.update(entry.file for entry in ordered[1:])
    return frozenset(later)


def _order(key: bytes, entry: Entry) -> tuple[bytes, bytes]:
    place = place_of(key, entry)
    return place.path.encode("utf-8", "surrogateescape"), place.member.encode("utf-8", "surrogatepass")
