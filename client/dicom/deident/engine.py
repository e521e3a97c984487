"""One object without identities: a new dataset in which every element was decided on (PS3.15 E.1.1).

Guarantees: the input stays as it is; an element is in the output only because a rule kept it or made its value; all
levels are treated alike; an element that cannot be read is removed; the same object, profile and key give the same
output. What stands in pixels is not looked at here: burned_in.py does, before anything is exported.

    safe = deidentify(dataset, Profile(), key=archive_key)
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import UID

from client.dicom.deident import codes, dates, uids, vocabulary
from client.dicom.deident.dummies import dummy
from client.dicom.deident.elements import Element, announced_vr, blanked, kept, read, standard_vr, texts, uniform
from client.dicom.deident.marks import fresh_meta, mark, patient_of, syntax_of
from client.dicom.deident.pixels import PIXEL_DATA, pixels_alone
from client.dicom.deident.private import creator_tag, is_safe
from client.dicom.deident.profile import Option, Profile
from client.dicom.deident.rules import CONTENT, DATES, Rules, rules_of
from client.dicom.deident.sweep import collect, sweep
from client.dicom.deident.table import Action
from client.dicom.keys import short_key
from client.dicom.plain import plain
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning.unusual import MALFORMED

_PATIENT_ID = 0x00100020

Made = DataElement | RawDataElement | None


@dataclass(frozen=True)
class Cleaned:
    """The new dataset, and how many elements the final sweep took out of it."""

    dataset: Dataset
    swept: int


def deidentify(dataset: Dataset, profile: Profile, *, key: bytes) -> Dataset:
    """`dataset` de-identified under `profile`, with its own file meta information. `key` is the site's secret.

    Raises LeftOutError: unreadable where SOP class or instance is missing, unsupported_syntax or decode_failed for
    compressed pixels that cannot be told from comments (streams.py).
    """
    return clean(dataset, profile, key=key).dataset


def clean(dataset: Dataset, profile: Profile, *, key: bytes, identity_removed: bool = True) -> Cleaned:
    """As `deidentify`, with the count of the sweep. `identity_removed` False: Patient Identity Removed says NO, for an
    object whose pixels may name the patient."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom quotes the values it warns of
            output = _Run.of(dataset, profile, key).dataset(dataset, _Level(root=True))
            swept = sweep(output, collect(dataset, profile))
            mark(output, profile, identity_removed=identity_removed)
            output.file_meta = fresh_meta(dataset, output)
    except (OSError, *MALFORMED):
        raise LeftOutError(Reason.UNREADABLE) from None
    return Cleaned(output, swept)


@dataclass(frozen=True)
class _Level:
    """Where in the object: at its `root`; `blank`: within a sequence that gets dummy values; `content`: within
    structured content that is cleaned, where words of `local` codes go (PS3.15 E.1.1, note 7)."""

    root: bool = False
    blank: bool = False
    content: bool = False
    local: bool = False


@dataclass(frozen=True)
class _Run:
    """The treatment of one object: `weeks` that its dates move back, `pseudonym` of its patient."""

    rules: Rules
    key: bytes = field(repr=False)
    weeks: int
    pseudonym: str
    syntax: UID

    @classmethod
    def of(cls, dataset: Dataset, profile: Profile, key: bytes) -> Self:
        """What follows from the object as a whole."""
        patient = patient_of(dataset, key)
        return cls(
            rules_of(profile, plain(dataset.get("SOPClassUID", ""))),
            key,
            dates.weeks_back(key, patient),
            short_key(key, "pseudonym", patient).hex(),
            syntax_of(dataset),
        )

    def dataset(self, source: Dataset, level: _Level) -> Dataset:
        """A new dataset of what becomes of the elements of `source`."""
        output = Dataset()
        if level.content and codes.is_local(source):
            level = replace(level, local=True)
        if uniform(source):  # then numbers and bulk data are written as the bytes they were
            implicit, little = source.original_encoding
            output.set_original_encoding(implicit, little, source.original_character_set)
        for tag in sorted(source.keys()):
            if tag.is_private:
                self._private(source, tag, output)
                continue
            vr = announced_vr(source, tag)
            if vr != "UN" and self.rules.action(tag, vr, root=level.root) is Action.REMOVE:
                continue
            element = read(source, tag)
            made = None if element is None else self._made(element, level)
            if element is not None and made is not None and tag == PIXEL_DATA:
                made = pixels_alone(element, source, self.syntax)
            if made is not None:
                output[tag] = made
        return output

    def _made(self, element: Element, level: _Level) -> Made:
        if level.root and element.tag == _PATIENT_ID and not element.is_empty:
            return DataElement(element.tag, "LO", self.pseudonym)  # a dummy that keeps a patient's objects together
        action = self.rules.action(element.tag, element.vr, root=level.root)
        if level.local and element.tag in codes.WORDS:
            return self._dummy(element, level)
        if level.blank and action in (Action.KEEP, Action.CLEAN):
            return self._blank(element)
        return _ACTIONS[action](self, element, level)

    def _private(self, source: Dataset, tag: BaseTag, output: Dataset) -> None:
        """A private element: kept, with its creator, only where it is known to be safe."""
        if Option.SAFE_PRIVATE not in self.rules.profile.options or tag.element < 0x1000:
            return
        creator = read(source, creator_tag(tag))
        element = read(source, tag)
        if creator is None or element is None or not is_safe(tag, "".join(texts(creator)), element.vr):
            return
        made = kept(element)
        if made is not None:
            output[creator.tag] = DataElement(creator.tag, "LO", "".join(texts(creator)))
            output[tag] = made

    def _remove(self, _element: Element, _level: _Level) -> Made:
        return None

    def _empty(self, element: Element, _level: _Level) -> Made:
        vr = standard_vr(element.tag)
        return DataElement(element.tag, vr, Sequence() if vr == "SQ" else None)

    def _keep(self, element: Element, level: _Level) -> Made:
        content = level.content or element.tag in CONTENT
        return self._items(element, _Level(content=content)) if element.vr == "SQ" else kept(element)

    def _uid(self, element: Element, _level: _Level) -> Made:
        """UIDs mapped; of a sequence: those in its items."""
        if element.vr == "SQ":
            return self._items(element, _Level())
        replace = uids.structural if element.tag in uids.STRUCTURAL else uids.mapped
        values = [replace(uid, self.key) for uid in texts(element)]
        return DataElement(element.tag, "UI", values if len(values) > 1 else "".join(values))

    def _dummy(self, element: Element, level: _Level) -> Made:
        """A dummy in place of a value; where there was none, none."""
        vr = standard_vr(element.tag)
        if vr == "SQ" or element.is_empty:
            return self._items(element, _Level(blank=True)) if vr == "SQ" else DataElement(element.tag, vr, None)
        return self._uid(element, level) if vr == "UI" else dummy(element.tag, vr)

    def _clean(self, element: Element, level: _Level) -> Made:
        """A date moved or a text reduced to safe words; what cannot be cleaned gets its action without the option."""
        values = [self._cleaned(element, value) for value in texts(element)]
        if not all(values):
            return _ACTIONS[self.rules.without_cleaning(element.tag, root=level.root)](self, element, level)
        return DataElement(element.tag, element.vr, values if len(values) > 1 else "".join(filter(None, values)))

    def _cleaned(self, element: Element, value: str) -> str | None:
        if element.tag == dates.TIME_ZONE:
            return dates.zone(value)
        return dates.shifted(value, self.weeks) if element.vr in DATES else vocabulary.cleaned(value)

    def _blank(self, element: Element) -> Made:
        """An element of a sequence that gets dummy values: structure stays, content goes."""
        if element.vr == "SQ":
            return self._items(element, _Level(blank=True))
        return self._uid(element, _Level()) if element.vr == "UI" else blanked(element)

    def _items(self, element: Element, level: _Level) -> DataElement:
        return DataElement(element.tag, "SQ", Sequence(self.dataset(item, level) for item in element.items()))


_ACTIONS: Mapping[Action, Callable[[_Run, Element, _Level], Made]] = {
    Action.REMOVE: _Run._remove,
    Action.EMPTY: _Run._empty,
    Action.DUMMY: _Run._dummy,
    Action.UID: _Run._uid,
    Action.KEEP: _Run._keep,
    Action.CLEAN: _Run._clean,
}
