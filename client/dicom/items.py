"""From the files of one series to what becomes tensors: images, slices with neighbours, or volumes. Pure.

Guarantees: every file ends in at least one item, or under one reason; a volume is regular (geometry/stacks.py), holds
files of one patient only, and one thing is known of it: what is said of those of its files of which anything is said.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from client.dicom.geometry.frame import Frame, unpack_frames
from client.dicom.geometry.stacks import stacks
from client.dicom.item import Item, Location, Part
from client.dicom.reasons import Reason
from client.dicom.scanning.entry import Entry, by_patient
from client.dicom.targets.base import Fact, Known
from client.dicom.targets.groups import Traits
from shared.study import Input
from shared.wire import digest

#: Where an entry's bytes lie.
Locate = Callable[[Entry], Location]


@dataclass(frozen=True)
class Candidate:
    """One tensor to be, whose it is, what is known of it, the file (Entry.file) of each of its parts, and what the
    header says of whoever is on it."""

    item: Item
    patient: bytes
    fact: Fact
    files: tuple[bytes, ...]
    traits: Traits


@dataclass(frozen=True)
class Chosen:
    """The candidates of some files, and of every file that is in none of them the reason."""

    candidates: tuple[Candidate, ...]
    left_out: Mapping[bytes, Reason]


@dataclass(frozen=True)
class _Slot:
    """Frame `index` of the object of `entry`."""

    entry: Entry
    index: int
    frame: Frame


def choose_items(entries: Sequence[Entry], spec: Input, known: Known, locate: Locate) -> Chosen:
    """What a study with `spec` makes of `entries` and what is `known` of them: one series, without a fault of their
    own."""
    found: list[Candidate] = []
    reasons: dict[bytes, Reason] = {}
    for group in by_patient(entries):
        slots = [slot for entry in group for slot in _slots(entry, spec)]
        for entries_of, slots_of, affine, fault in _groups(slots, spec):
            apart = fault is None and known.apart and spec.kind == "stack"
            fact = fault or (None if apart else known.of(entries_of))
            for window in _windows(slots_of, spec):
                middle = window[len(window) // 2].entry
                said = known.of([middle]) if apart else fact
                if isinstance(said, Reason):
                    reasons |= {entry.file: said for entry in ([middle] if apart else entries_of)}
                else:
                    found.append(_candidate(window, affine, said, locate))
    used = {file for candidate in found for file in candidate.files}
    return Chosen(tuple(found), {file: reason for file, reason in reasons.items() if file not in used})


def _slots(entry: Entry, spec: Input) -> list[_Slot]:
    frames = unpack_frames(entry.frames)
    slots = [_Slot(entry, index, frame) for index, frame in enumerate(frames)]
    return slots[len(slots) // 2 :][:1] if spec.kind == "image" and spec.frames == "middle" else slots


_Group = tuple[Sequence[Entry], Sequence[_Slot], tuple[float, ...] | None, Reason | None]


def _groups(slots: Sequence[_Slot], spec: Input) -> Iterator[_Group]:
    """Files that share a label, their frames in order, the affine of a volume, and what is against using them."""
    if spec.kind == "image":
        for entry, of_entry in itertools.groupby(slots, key=lambda slot: slot.entry):
            own = list(of_entry)
            measured = spec.spacing is None or all(slot.frame.spacing for slot in own)
            yield [entry], own, None, None if measured else Reason.NO_GEOMETRY
        return
    for stack in stacks([slot.frame for slot in slots]):
        own = [slots[index] for index in stack.frames]
        affine = tuple(map(float, stack.affine.ravel())) if spec.kind == "volume" and stack.affine is not None else None
        yield list({slot.entry.file: slot.entry for slot in own}.values()), own, affine, stack.reason


def _windows(slots: Sequence[_Slot], spec: Input) -> Iterator[Sequence[_Slot]]:
    """The frames of each tensor: one; one and its neighbours, the outermost repeated at the ends; all."""
    if spec.kind == "volume":
        yield slots
        return
    for middle in range(len(slots)):
        around = range(middle - spec.neighbours, middle + spec.neighbours + 1)
        yield [slots[min(max(place, 0), len(slots) - 1)] for place in around]


def _candidate(slots: Sequence[_Slot], affine: tuple[float, ...] | None, fact: Fact, locate: Locate) -> Candidate:
    parts = tuple(Part(locate(slot.entry), slot.entry.stamp, slot.index) for slot in slots)
    files, first = tuple(slot.entry.file for slot in slots), slots[0].entry
    traits = Traits(first.sex, first.age, first.manufacturer)
    return Candidate(Item(_name(slots, affine), parts, affine), first.patient, fact, files, traits)


def _name(slots: Sequence[_Slot], affine: tuple[float, ...] | None) -> bytes:
    """16 bytes that name the content wherever it lies: identity, size and time of change of every object, its frame."""
    said = (f"{slot.entry.size} {slot.entry.mtime_ns} {slot.index}".encode() for slot in slots)
    own = (part for slot, text in zip(slots, said, strict=True) for part in (slot.entry.sop, text))
    return digest("konsil/item/v1", repr(affine).encode(), *own)[:16]
