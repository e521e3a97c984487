"""The final sweep: no text that is left may hold what names the patient.

Guarantees: every text at every level is searched, and bulk data that are not pixels; an element in which an identifier
stands is removed as a whole. Codes that say how to read the pixels or the text stay.
"""

from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from client.dicom.deident.elements import Element, texts
from client.dicom.deident.identifiers import Identifiers

_SEARCHED = frozenset({"AE", "AS", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
_BULK = frozenset({"OB", "OW", "UN"})
#: Specific Character Set, Image Type, Modality, Patient ID (by now a pseudonym)
_SPARED = frozenset({0x00080005, 0x00080008, 0x00080060, 0x00100020})
#: Groups of the pixel module, of waveforms and of pixels: codes for decoders, and samples.
_SPARED_GROUPS = frozenset({0x0028, 0x5400, 0x7FE0})


def sweep(dataset: Dataset, found: Identifiers) -> int:
    """Remove what holds one of `found` from `dataset`, which is ours. Returns how many elements that were."""
    count = 0
    for tag in list(dataset.keys()):
        element = dataset.get_item(tag)
        if isinstance(element, DataElement) and element.VR == "SQ":
            count += sum(sweep(item, found) for item in element.value or ())
        elif element is not None and _holds(tag, element, found):
            del dataset[tag]
            count += 1
    return count


def _holds(tag: BaseTag, element: DataElement | RawDataElement, found: Identifiers) -> bool:
    if tag in _SPARED or tag >> 16 in _SPARED_GROUPS:
        return False
    vr = element.VR or (dictionary_VR(tag) if dictionary_has_tag(tag) else "UN")
    if vr in _BULK or vr == "OB or OW":
        return isinstance(element.value, bytes) and found.in_bytes(element.value)
    return vr in _SEARCHED and any(found.in_text(text) for text in texts(Element(tag, vr, element)))
