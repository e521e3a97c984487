"""The final sweep: no text that is left may hold what names the patient or anybody else in the object.

Guarantees: every text at every level is searched, and the bytes of everything that is not pixels; an element in which
an identifier stands is removed as a whole. Codes that say how to read the pixels or the text stay.
"""

from pydicom.dataset import Dataset

from client.dicom.deident.elements import Element, announced_vr, read, standard_vr, texts
from client.dicom.deident.identifiers import NUMBERS, Identifiers
from client.dicom.deident.profile import Option, Profile

_INSTITUTION = 0x00080080
_SEARCHED = frozenset({"AE", "AS", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
#: Searched as the bytes they are in a file: binary values, and whole numbers as text.
_BULK = frozenset(
    {"AT", "FD", "FL", "IS", "OB", "OD", "OF", "OL", "OV", "OW", "SL", "SS", "SV", "UL", "UN", "US", "UV"}
)
_LOOKED_AT = _SEARCHED | _BULK | {"SQ"}
#: VRs of names, of what may hold names, and of what may turn out to be either.
_NAMING = frozenset({"PN", "SQ", "UN"})
#: Specific Character Set, Image Type, Modality, Patient ID (by now a pseudonym)
_SPARED = frozenset({0x00080005, 0x00080008, 0x00080060, 0x00100020})
#: Groups of waveforms and of pixels: samples.
_SAMPLES = frozenset({0x5400, 0x7FE0})
#: Codes that say how to decode and show: Photometric Interpretation, Pixel Intensity Relationship, VOI LUT Function,
#: Lossy Image Compression, and Burned In Annotation with its like
_DECODING = frozenset({0x00280004, 0x00281040, 0x00281056, 0x00282110, 0x00280301, 0x00280302, 0x00280303})


def collect(dataset: Dataset, profile: Profile) -> Identifiers:
    """The names and numbers of `dataset`, at all levels."""
    numbers = NUMBERS if Option.INSTITUTION in profile.options else NUMBERS | {_INSTITUTION}
    found = Identifiers()
    _collect(dataset, numbers, found)
    return found


def _collect(dataset: Dataset, numbers: frozenset[int], found: Identifiers) -> None:
    for tag in dataset.keys():  # noqa: SIM118, a Dataset iterates over elements, not tags
        if tag.is_private or not (tag in numbers or _NAMING & {announced_vr(dataset, tag), standard_vr(tag)}):
            continue
        element = read(dataset, tag)
        if element is None:
            continue
        if element.vr == "SQ":
            for item in element.items():
                _collect(item, numbers, found)
        elif tag in numbers:
            for number in texts(element):
                found.add_number(number)
        elif "PN" in (element.vr, standard_vr(tag)):
            for name in texts(element):
                found.add_name(name)


def sweep(dataset: Dataset, found: Identifiers) -> int:
    """Remove what holds one of `found` from `dataset`, which is ours. Returns how many elements that were."""
    count = 0
    for tag in list(dataset.keys()):
        element = read(dataset, tag) if announced_vr(dataset, tag) in _LOOKED_AT else None
        if element is None:
            continue
        if element.vr == "SQ":
            count += sum(sweep(item, found) for item in element.items())
        elif _holds(element, found):
            del dataset[tag]
            count += 1
    return count


def _holds(element: Element, found: Identifiers) -> bool:
    if element.tag in _SPARED | _DECODING or element.tag.group in _SAMPLES:
        return False
    if element.vr in _BULK:
        value = element.source.value
        return isinstance(value, bytes) and found.in_bytes(value)
    return element.vr in _SEARCHED and any(found.in_text(text) for text in texts(element))
