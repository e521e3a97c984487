"""Patients held out of training, and how the final figures are formed: the study's [evaluation]."""

from typing import Annotated, Literal

from msgspec import Meta

from shared.study.words import Count, Fraction, Label, Positive
from shared.text import is_plain
from shared.wire import Record

#: Ages in years at which a new band of the subgroup "age" begins, after the first.
AGES = (40, 60, 80)


class Evaluation(Record, frozen=True):
    """Patients held out of training, and how the final figures are formed."""

    test: Annotated[float, Meta(gt=0, lt=0.9)] = 0.25
    validation: Annotated[float, Meta(gt=0, lt=0.9)] = 0.15
    every: Count = 1
    #: versions of an image whose scores are averaged: itself; and its mirror image; and all symmetries of its frame
    views: Literal[1, 2, 8] = 1
    #: sensitivity aimed at on the validation patients; the test patients are judged at that threshold
    sensitivity: Fraction = 0.9
    #: ask hospitals for their own figures; each shows them only if its policy says so
    per_site: bool = False
    #: the most that all evaluations of the run together may tell of one held-out patient, at `delta`: every hospital
    #: then adds noise to its counts. Without, the masked sums are exact
    epsilon: Positive | None = None
    delta: Fraction | None = None
    #: images of one patient that a noisy evaluation counts
    images_per_patient: Annotated[int, Meta(ge=1, le=64)] = 2

    #: figures also by these; age in bands of AGES, manufacturers those of `manufacturers` and all others together
    subgroups: tuple[Literal["sex", "age", "manufacturer"], ...] = ()
    manufacturers: Annotated[tuple[Label, ...], Meta(max_length=16)] = ()
    #: with `folds` ≥ 2 the test patients are the `fold`-th (from 0) of so many equal parts, whatever `test` says
    folds: Annotated[int, Meta(ge=0, le=20)] = 0
    fold: Annotated[int, Meta(ge=0, lt=20)] = 0

    def __post_init__(self) -> None:
        if self.test + self.validation >= 1:
            raise ValueError("test + validation below 1")
        if self.folds == 1 or self.fold >= max(1, self.folds):
            raise ValueError("fold below folds, and folds of 2 or more, or 0")
        if bool(self.manufacturers) != ("manufacturer" in self.subgroups) or not all(map(is_plain, self.manufacturers)):
            raise ValueError(
                'manufacturers, in plain characters, with "manufacturer" among the subgroups, and only there'
            )
        makers = {"".join(name.casefold().split()) for name in (*self.manufacturers, "other")}
        if len(makers) <= len(self.manufacturers):
            raise ValueError('manufacturers that differ, none of them "other", which are all not named')
        if self.epsilon is not None and self.subgroups:
            raise ValueError("no subgroups with epsilon, which does not pay for them")
        if (self.epsilon is None) != (self.delta is None):
            raise ValueError("epsilon and delta together")
