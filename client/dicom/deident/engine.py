"""One object without identities: a new dataset in which every element was decided on (PS3.15 E.1.1).

Guarantees: the input stays as it is; an element is in the output only because a rule kept it or made its value; all
levels are treated alike; an element that cannot be read is removed; the same object, profile and key give the same
output. What stands in pixels is not looked at here: burned_in.py does, before anything is exported.

    safe = deidentify(dataset, Profile(), key=archive_key)
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from client.dicom.deident import dates, uids, vocabulary
from client.dicom.deident.dummies import VALUES, dummy
from client.dicom.deident.elements import Element, blanked, kept, read, standard_vr, texts
from client.dicom.deident.identifiers import NUMBERS, Identifiers
from client.dicom.deident.marks import fresh_meta, mark, patient_of
from client.dicom.deident.private import creator_tag, is_safe
from client.dicom.deident.profile import Option, Profile
from client.dicom.deident.rules import DATES, Rules
from client.dicom.deident.sweep import sweep
from client.dicom.deident.table import Action
from client.dicom.keys import short_key

_PATIENT_ID, _INSTITUTION = 0x00100020, 0x00080080


@dataclass(frozen=True)
class Cleaned:
    """The new dataset, and how many elements the final sweep took out of it."""

    dataset: Dataset
    swept: int


@dataclass(frozen=True)
class _Run:
    """What holds for all elements of one object. `pseudonym`: the patient's, `weeks`: back, for shifted dates."""

    rules: Rules
    key: bytes = field(repr=False)
    weeks: int
    pseudonym: str
    found: Identifiers


def deidentify(dataset: Dataset, profile: Profile, *, key: bytes) -> Dataset:
    """`dataset` de-identified under `profile`, with its own file meta information. `key` is the site's secret.

    Raises LeftOutError(unreadable) where SOP class or instance is missing.
    """
    return clean(dataset, profile, key=key).dataset


def clean(dataset: Dataset, profile: Profile, *, key: bytes, identity_removed: bool = True) -> Cleaned:
    """As `deidentify`, with the count of the sweep. `identity_removed` False: Patient Identity Removed says NO, for an
    object whose pixels may name the patient."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom quotes the values it warns of
        patient = patient_of(dataset, key)
        run = _Run(
            Rules(profile),
            key,
            dates.weeks_back(key, patient),
            short_key(key, "pseudonym", patient).hex(),
            Identifiers(),
        )
        output = _treated(dataset, run)
        swept = sweep(output, run.found)
        mark(output, profile, identity_removed=identity_removed)
        output.file_meta = fresh_meta(dataset, output)
    return Cleaned(output, swept)


def _treated(source: Dataset, run: _Run, *, blank: bool = False) -> Dataset:
    """A new dataset of what becomes of the elements of `source`. `blank`: within a sequence that gets dummy values."""
    output = Dataset()
    implicit, little = source.original_encoding
    output.set_original_encoding(implicit, little, source.original_character_set)
    for tag in sorted(source.keys()):
        if tag.is_private:
            _private(source, tag, output, run)
            continue
        element = read(source, tag)
        if element is None:
            continue
        _remember(element, run)
        action = run.rules.action(tag, element.vr)
        if blank and action in (Action.KEEP, Action.CLEAN):
            made = _blank(element, run)
        else:
            made = _ACTIONS[action](element, run)
        if made is not None:
            output[tag] = made
    return output


def _private(source: Dataset, tag: BaseTag, output: Dataset, run: _Run) -> None:
    """A private element: kept, with its creator, only where it is known to be safe."""
    if Option.SAFE_PRIVATE not in run.rules.profile.options or tag & 0xFFFF < 0x1000:
        return
    creator = source.get(creator_tag(tag))
    element = read(source, tag)
    if creator is None or element is None or not is_safe(tag, str(creator.value), element.vr):
        return
    made = kept(element)
    if made is not None:
        output[creator.tag] = DataElement(creator.tag, "LO", str(creator.value))
        output[tag] = made


def _remember(element: Element, run: _Run) -> None:
    """Note names and numbers, those within removed sequences too."""
    if element.vr == "PN":
        for name in texts(element):
            run.found.add_name(name)
    elif element.tag in NUMBERS or element.tag == _INSTITUTION:
        if element.tag == _INSTITUTION and Option.INSTITUTION in run.rules.profile.options:
            return
        for number in texts(element):
            run.found.add_number(number)
    elif element.vr == "SQ" and run.rules.action(element.tag, "SQ") in (Action.REMOVE, Action.EMPTY):
        for item in element.items():
            for tag in item.keys():  # noqa: SIM118, a Dataset iterates over elements, not tags
                inner = None if tag.is_private else read(item, tag)
                if inner is not None:
                    _remember(inner, run)


def _remove(_element: Element, _run: _Run) -> None:
    return None


def _empty(element: Element, _run: _Run) -> DataElement:
    vr = standard_vr(element)
    return DataElement(element.tag, vr, Sequence() if vr == "SQ" else None)


def _keep(element: Element, run: _Run) -> DataElement | RawDataElement | None:
    if element.vr != "SQ":
        return kept(element)
    return DataElement(element.tag, "SQ", Sequence(_treated(item, run) for item in element.items()))


def _uid(element: Element, run: _Run) -> DataElement | None:
    """UIDs mapped; of a sequence: those in its items."""
    if element.vr == "SQ":
        return DataElement(element.tag, "SQ", Sequence(_treated(item, run) for item in element.items()))
    replace = uids.structural if element.tag in uids.STRUCTURAL else uids.mapped
    return DataElement(element.tag, "UI", [replace(uid, run.key) for uid in texts(element)])


def _dummy(element: Element, run: _Run) -> DataElement | None:
    """A dummy in place of a value; where there was none, none."""
    vr = standard_vr(element)
    if vr == "SQ":
        items = element.items() if element.vr == "SQ" else ()
        return DataElement(element.tag, "SQ", Sequence(_treated(item, run, blank=True) for item in items))
    if element.is_empty:
        return DataElement(element.tag, vr, None)
    if element.tag == _PATIENT_ID:
        return DataElement(element.tag, vr, run.pseudonym)
    return _uid(element, run) if vr == "UI" else dummy(element.tag, vr)


def _clean(element: Element, run: _Run) -> DataElement | RawDataElement | None:
    """A date moved or a text reduced to safe words; what cannot be cleaned gets its action without the option."""
    if element.vr in DATES:
        values = [dates.shifted(value, run.weeks) for value in texts(element)]
    else:
        values = [vocabulary.cleaned(value) or None for value in texts(element)]
    if not all(values):
        return _ACTIONS[run.rules.without_cleaning(element.tag)](element, run)
    return DataElement(element.tag, element.vr, values if len(values) != 1 else values[0])


def _blank(element: Element, run: _Run) -> DataElement | RawDataElement | None:
    """An element of a sequence that gets dummy values: structure stays, content goes."""
    if element.vr == "SQ":
        return DataElement(element.tag, "SQ", Sequence(_treated(item, run, blank=True) for item in element.items()))
    if element.vr == "UI":
        return _uid(element, run)
    return blanked(element) if standard_vr(element) in VALUES else None


_ACTIONS: Mapping[Action, Callable[[Element, _Run], DataElement | RawDataElement | None]] = {
    Action.REMOVE: _remove,
    Action.EMPTY: _empty,
    Action.DUMMY: _dummy,
    Action.UID: _uid,
    Action.KEEP: _keep,
    Action.CLEAN: _clean,
}
