"""Images of the sample opened, in processes of their own, and measured.

Guarantees: an image that cannot be decoded, or that ends its process, costs itself only (client/dicom/crew.py); what
comes back is numbers. `plane_of` is the one place where quality meets the decoders.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from client.dicom.crew import Limits, spread
from client.dicom.item import Part
from client.dicom.pixels.colour import colour_of
from client.dicom.pixels.grey import grey_of, joint_percentiles
from client.dicom.pixels.layout import GREY
from client.dicom.pixels.objects import open_object
from client.dicom.pixels.stored import stored_frame
from client.dicom.quality.sample import Chosen
from client.dicom.quality.view import View, measure
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning.containers import read
from shared.wire import Record, pack, unpack

#: Seconds for one image.
IMAGE_S = 60.0
#: Bytes of an object of the sample, at most: a larger one is not worth a report's time.
BYTES_LIMIT = 1 << 30


@dataclass(frozen=True)
class Task:
    """Look at the image `part`, the `place`-th of the sample."""

    place: int
    part: Part = field(repr=False)
    modality: str


class Answer(Record, frozen=True):
    """What a process says of an image: its view, or why there is none."""

    view: View | None = None
    reason: Reason = Reason.DECODE_FAILED


def look(chosen: Sequence[Chosen], limits: Limits | None = None) -> Iterator[tuple[Chosen, View | Reason]]:
    """Each of `chosen` with its view, or the reason why it has none, as they come."""
    tasks = [Task(place, one.part, one.facts.modality) for place, one in enumerate(chosen)]
    for task, packed in spread(_start, tasks, limits or Limits(), lambda _: IMAGE_S):
        answer = Answer() if packed is None else unpack(Answer, packed)
        yield chosen[task.place], answer.view or answer.reason


def _start() -> Callable[[Task], bytes]:
    """In a process of the crew: what looks at an image there."""
    return lambda task: pack(_answer(task))


def _answer(task: Task) -> Answer:
    try:
        plane = plane_of(task.part)
    except LeftOutError as left_out:
        return Answer(reason=left_out.reason)
    return Answer(view=measure(plane.values, plane.padding, plane.shown, task.modality))


@dataclass(frozen=True)
class Plane:
    """One frame, [rows, columns] each: modality values (of a colour image its luma), where they are padding, and
    brightness in [0, 1] as its own window shows it."""

    values: NDArray[np.floating]
    padding: NDArray[np.bool_]
    shown: NDArray[np.float32]


def plane_of(part: Part) -> Plane:
    """The frame that `part` names. Raises LeftOutError."""
    dataset = open_object(read(part.location, BYTES_LIMIT, part.stamp))
    stored = stored_frame(dataset, part.frame)
    if stored.photometric not in GREY:
        luma = colour_of(dataset, part.frame, stored).shown(color=False)[0]
        return Plane(luma, np.zeros(luma.shape, dtype=np.bool_), luma)
    grey = grey_of(dataset, part.frame, stored)
    window = grey.own or joint_percentiles((grey,))
    return Plane(grey.physical, grey.padding[grey.index], grey.through(window))
