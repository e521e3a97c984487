"""Elements as the engine sees them: a tag, the VR under which it was read, and the value as bytes or as pydicom has it.

Guarantees: numbers and bulk data stay the bytes they were, undecoded; `read` gives None for what cannot be read; `kept`
gives None for a value that is not what its VR says.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from client.dicom.deident.dummies import VALUES
from client.dicom.scanning.unusual import MALFORMED

#: Binary values: nothing in them is decoded.
_BINARY = frozenset(
    {"AT", "FD", "FL", "OB", "OD", "OF", "OL", "OV", "OW", "SL", "SS", "SV", "UL", "US", "UV", "US or SS", "OB or OW"}
)
_WHOLE = frozenset({"AT", "SL", "SS", "SV", "UL", "US", "UV"})
#: What a value of these VRs may look like. Wider than PS3.5 6.2 (real files are): no name or address fits but into CS.
_FORMS = {
    "AS": re.compile(rb"(\d{3}[DWMY])?"),
    "CS": re.compile(rb"[A-Za-z0-9 _./+\\-]*"),
    "DA": re.compile(rb"[0-9.\\ ]*"),
    "DS": re.compile(rb"[0-9+.eE\\ -]*"),
    "DT": re.compile(rb"[0-9.+\\ -]*"),
    "IS": re.compile(rb"[0-9+.\\ -]*"),
    "TM": re.compile(rb"[0-9.:\\ ]*"),
    "UI": re.compile(rb"[0-9.\\]*"),
}
_NUMBERS = frozenset({"DS", "IS"})


@dataclass(frozen=True)
class Element:
    """One element, as `read` found it. Its value is kept out of `repr`."""

    tag: BaseTag
    vr: str
    source: DataElement | RawDataElement = field(repr=False)

    @property
    def is_empty(self) -> bool:
        """Whether the value has zero length."""
        return self.source.is_empty if isinstance(self.source, DataElement) else not self.source.value

    def items(self) -> Iterator[Dataset]:
        """The items, of a sequence."""
        if isinstance(self.source, DataElement) and self.source.value is not None:
            yield from self.source.value


def read(dataset: Dataset, tag: BaseTag) -> Element | None:
    """The element `tag` of `dataset`; None if there is none, or its bytes are not what they say."""
    raw = dataset.get_item(tag) if tag in dataset else None
    if raw is None:
        return None
    vr = _vr(tag, raw)
    if isinstance(raw, RawDataElement) and vr in (_BINARY | _NUMBERS):
        return Element(tag, vr.partition(" ")[0], raw)
    try:
        element = dataset[tag]
        if element.VR == "SQ":
            len(element.value)
    except (OSError, *MALFORMED):  # OSError: where bytes of a sequence under UN end too soon
        return None
    return Element(tag, element.VR.partition(" ")[0], element)


def uniform(dataset: Dataset) -> bool:
    """Whether all elements are encoded as `dataset` says; some files change from explicit to implicit within."""
    implicit = dataset.original_encoding[0]
    for tag in dataset.keys():  # noqa: SIM118, a Dataset iterates over elements, not tags
        element = dataset.get_item(tag)
        if isinstance(element, RawDataElement) and element.is_implicit_VR != implicit:
            return False
    return True


def announced_vr(dataset: Dataset, tag: BaseTag) -> str:
    """The VR under which `read` would read an element that is there, at no cost; UN where that shows only then."""
    raw = dataset.get_item(tag)
    return "UN" if raw is None else _vr(tag, raw).partition(" ")[0]


def _vr(tag: BaseTag, raw: DataElement | RawDataElement) -> str:
    """The VR an element is to be read under: its own, or the dictionary's where the syntax gives none."""
    if raw.VR:
        return str(raw.VR)
    return dictionary_VR(tag) if dictionary_has_tag(tag) else "UN"


def standard_vr(tag: int) -> str:
    """The first VR that the dictionary gives this tag; UN if it has none."""
    return dictionary_VR(tag).partition(" ")[0] if dictionary_has_tag(tag) else "UN"


def texts(element: Element) -> list[str]:
    """The values as texts; none of an element without value."""
    value = element.source.value
    if value is None or element.is_empty or element.vr == "SQ":
        return []
    if isinstance(value, bytes):
        value = value.decode("latin-1").rstrip("\0 ").split("\\")
    return [str(one) for one in (value if isinstance(value, list | MultiValue) else [value])]


def kept(element: Element) -> DataElement | RawDataElement | None:
    """The element as it is; None where its value is not what its VR says."""
    form = _FORMS.get(element.vr)
    if form is None:
        return element.source
    value = element.source.value
    data = value if isinstance(value, bytes) else "\\".join(texts(element)).encode()
    return element.source if form.fullmatch(data.rstrip(b"\0 ")) else None


def blanked(element: Element) -> DataElement | RawDataElement | None:
    """The element with as many dummy values; codes and whole numbers, which count and classify, stay."""
    vr = element.vr
    if vr == "CS" or vr in _WHOLE:
        return kept(element)
    if vr not in VALUES:
        return None
    count = _count(element)
    return DataElement(element.tag, vr, [VALUES[vr]] * count if count > 1 else VALUES[vr] if count else None)


def _count(element: Element) -> int:
    """How many values there are."""
    if element.is_empty:
        return 0
    if isinstance(element.source, RawDataElement):
        width = {"FL": 4, "FD": 8}.get(element.vr)
        value = element.source.value or b""
        return len(value) // width if width else value.count(b"\\") + 1 if element.vr in _NUMBERS else 1
    return element.source.VM
