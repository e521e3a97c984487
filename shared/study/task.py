"""What is learned: the study's [task]."""

from typing import Annotated

from msgspec import Meta, field

from shared.study.words import Label, Options, Word
from shared.text import is_plain
from shared.wire import Record


class Task(Record, frozen=True):
    """What is learned: a `kind` of the closed registry (shared/tasks) with its `options`.

    `labels` as they stand in the label files; what they are (classes, findings, structures, a measured value) is the
    kind's to say. Of two classes the last one is the finding looked for. `mirrored`: pairs of labels that change places
    when an image is mirrored, as left and right do. `finding`: of more than two classes those that together are the
    finding looked for, if there is one.
    """

    labels: Annotated[tuple[Label, ...], Meta(max_length=64)] = ()
    kind: Word = "classification"
    options: Options = field(default_factory=dict)
    mirrored: tuple[tuple[Label, Label], ...] = ()
    finding: tuple[Label, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels that differ")
        if not all(map(is_plain, self.labels)):
            raise ValueError("labels without control, format and direction characters")
        paired = [label for pair in self.mirrored for label in pair]
        if len(set(paired)) != len(paired) or not set(paired) <= set(self.labels):
            raise ValueError("mirrored pairs of labels of the task, each once")
        found = set(self.finding)
        if len(found) != len(self.finding) or (found and not found < set(self.labels)):
            raise ValueError("finding of labels of the task, each once, but not all of them")
