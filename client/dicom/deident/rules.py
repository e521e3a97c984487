"""Which action an element gets: the table first, then what holds for elements that the table does not list.

Guarantees: fails closed. Kept without a row in the table is only what the standard's dictionary knows, under a value
representation of the kind that the dictionary gives, and that holds no name, address, date, instance UID or free
text. Groups 0000 to 0007 (commands, file meta, directories), group lengths, curves, overlays and private attributes
have no place in what leaves; the last are the engine's, which knows their creators.

    >>> Rules(Profile(), "1.2.840.10008.5.1.4.1.1.2").action(0x00280010, "US", root=True)
    <Action.KEEP: 'K'>
"""

from functools import lru_cache

from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.valuerep import VR

from client.dicom.deident.profile import Option, Profile
from client.dicom.deident.table import Action, by_tag
from client.dicom.deident.types import required

TEXTS = frozenset({"LO", "LT", "SH", "ST", "UC", "UT"})
DATES = frozenset({"DA", "DT", "TM"})
#: Free text: an operator may have typed anything.
_FREE = frozenset({"LT", "ST", "UC", "UT"})
_WHOLE = frozenset({"SL", "SS", "SV", "UL", "US", "UV"})
_BULK = frozenset({"OB", "OD", "OF", "OL", "OV", "OW"})
#: VRs that stand in for each other in files as they are; a text is never taken for a number, nor the reverse.
_KINDS = (TEXTS, frozenset({"DA", "DT"}), frozenset({"DS", "IS"}), frozenset({"FD", "FL"}), _WHOLE, _BULK)
_VRS = frozenset(VR)
#: Texts of type UC that are codes, not prose: Long Code Value.
_CODES = frozenset({0x00080119})
#: Acquisition Context, Specimen Preparation and Content Sequence: cleaned by treating their items one by one, which
#: replaces the names, texts and dates in them (PS3.15 E.3.4).
CONTENT = frozenset({0x00400555, 0x00400610, 0x0040A730})


class Rules:
    """The actions of one profile for objects of one SOP class."""

    def __init__(self, profile: Profile, sop_class: str) -> None:
        self.profile = profile
        self._class = sop_class
        self._known: dict[tuple[int, str, bool], Action] = {}

    def action(self, tag: int, vr: str, *, root: bool) -> Action:
        """What is done with the element `tag`, read under `vr`, at the `root` or in an item of a sequence.

        CLEAN occurs for dates and texts only.
        """
        action = self._known.get((tag, vr, root))
        if action is None:
            action = self._decide(tag, vr, root)
            if vr in _VRS and dictionary_has_tag(tag):  # what hostile files make up is not remembered
                self._known[tag, vr, root] = action
        return action

    def without_cleaning(self, tag: int, *, root: bool) -> Action:
        """What is done with a value that CLEAN cannot clean: the basic action; a dummy where the table has no row."""
        row = by_tag().get(tag)
        return Action.DUMMY if row is None else row.basic_action(required(tag, self._class, root=root))

    def _decide(self, tag: int, vr: str, root: bool) -> Action:
        row = by_tag().get(tag)
        if row is not None:
            action = row.action(self.profile, required(tag, self._class, root=root))
            if action is Action.CLEAN:
                return self._clean(tag, vr, root)
            if action is Action.KEEP and not _plausible(tag, vr):
                return self.without_cleaning(tag, root=root)
            return action
        group = tag >> 16
        if group < 8 or group & 1 or not tag & 0xFFFF:
            return Action.REMOVE
        # curves and overlays are repeating groups, which the dictionary of single tags does not have
        return self._unlisted(tag, vr) if _plausible(tag, vr) else Action.REMOVE

    def _clean(self, tag: int, vr: str, root: bool) -> Action:
        """What cleaning comes to where the table asks for it: the basic action wherever it is beyond us."""
        if tag in CONTENT:
            return Action.KEEP
        if vr in DATES:
            return Action.KEEP if vr == "TM" else Action.CLEAN
        if vr in TEXTS:
            return Action.CLEAN
        return self.without_cleaning(tag, root=root)

    def _unlisted(self, tag: int, vr: str) -> Action:
        if vr in ("PN", "AE", "UN") or (vr == "UR" and tag != 0x0008010E):  # Coding Scheme URL is nobody's
            return Action.REMOVE
        if vr in DATES:  # by value representation, as PS3.15 E.1.1 note 4 suggests
            return self._date(vr)
        if vr == "UI":
            return Action.KEEP if Option.UIDS in self.profile.options else Action.UID
        if vr in _FREE and tag not in _CODES:
            return Action.CLEAN if Option.DESCRIPTORS in self.profile.options else Action.DUMMY
        return Action.KEEP

    def _date(self, vr: str) -> Action:
        if Option.FULL_DATES in self.profile.options:
            return Action.KEEP
        if Option.MODIFIED_DATES in self.profile.options:
            return Action.KEEP if vr == "TM" else Action.CLEAN
        return Action.DUMMY


@lru_cache(maxsize=64)
def rules_of(profile: Profile, sop_class: str) -> Rules:
    """The rules, with what they have decided before."""
    return Rules(profile, sop_class)


def _plausible(tag: int, vr: str) -> bool:
    """Whether `vr` is what the dictionary gives `tag`, or of the same kind."""
    if not dictionary_has_tag(tag):
        return False
    expected = set(dictionary_VR(tag).split(" or "))
    return vr in expected or any(vr in kind and expected & kind for kind in _KINDS)
