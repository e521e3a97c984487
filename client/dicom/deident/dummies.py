"""Dummy values: valid for their VR, the same for everybody, saying nothing (PS3.15 E.1.1, action D).

Guarantees: `dummy` has a value for every VR but SQ, of non-zero length and legal under PS3.5 section 6.2.
"""

from collections.abc import Mapping

from pydicom.dataelem import DataElement

TEXT = "REMOVED"
#: VR → value. UI has none of its own: UIDs are mapped under the key, which keeps references.
VALUES: Mapping[str, object] = {
    **dict.fromkeys(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT"), TEXT),
    **dict.fromkeys(("OB", "OW", "UN"), b"\0\0"),
    **dict.fromkeys(("OF", "OL"), b"\0" * 4),
    **dict.fromkeys(("OD", "OV"), b"\0" * 8),
    **dict.fromkeys(("SL", "SS", "SV", "UL", "US", "UV"), 0),
    **dict.fromkeys(("FD", "FL"), 0.0),
    "AS": "000Y",
    "AT": 0x00000000,
    "DA": "19000101",
    "DS": "0",
    "DT": "19000101000000",
    "IS": "1",
    "TM": "000000",
    "UR": "urn:removed",
}


def dummy(tag: int, vr: str) -> DataElement:
    """The attribute `tag` of value representation `vr` with its dummy value."""
    return DataElement(tag, vr, VALUES[vr])
