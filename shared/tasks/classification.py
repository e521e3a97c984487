"""One of several classes for each image. Of two, the last is the finding looked for; of more, those that the study's
`task.finding` names together, if it names any.

Measures of an image: its probability of each class, [n, classes]. Counts of two classes: BinaryCounts of the finding
(`intervals = "patients"` adds what intervals at the operating point need of patients as clusters). Of more: the same of
the finding (its score is the sum of its classes' probabilities) and of each class against all others, then how often
each class was taken for which. The headline is the site-stratified AUC of the finding (pairs of images are compared
within a hospital only), or without a finding its mean over the classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from shared.confusion import ClassCounts
from shared.errors import InputError, unlikely
from shared.finding import Finding
from shared.finding_counts import Layout, check
from shared.findings import curves_of, macro_area
from shared.judged import Judged
from shared.meaning import Meaning
from shared.study import Study
from shared.tasks.base import Floats, Target
from shared.tasks.probabilities import Learning, kept_of, loss_of
from shared.tasks.symmetries import mirrored_of

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from shared.models.layers import Output


class Options(Learning, frozen=True, forbid_unknown_fields=True):
    """`smoothing` spreads its share of the truth over all classes. `intervals` at the operating point count patients,
    or take images as independent; by default the latter for two classes, whose counts are the fewest then."""

    intervals: Literal["images", "patients"] | None = None


def create(options: Options, study: Study) -> Classification:
    """Raises InputError for fewer than two labels, a finding of two that is not the last, and exact sums over patients
    beside noisy counts."""
    labels, finding = study.task.labels, study.task.finding
    if len(labels) < 2:
        raise InputError("task.labels", expected="two classes or more", got=str(len(labels)))
    if len(labels) == 2 and finding and finding != labels[1:]:
        raise InputError("task.finding", expected=f'the last of two labels, "{labels[1]}"', got=f'"{finding[0]}"')
    if study.evaluation.epsilon is not None and options.intervals == "patients":
        do = "Leave it out: noisy counts have intervals of their own."
        raise InputError("task.options.intervals", expected='"images" with evaluation.epsilon', got='"patients"', do=do)
    return Classification(options, study)


class Classification:
    """Classification into the labels of `study`."""

    target: Target = "class"

    def __init__(self, options: Options, study: Study) -> None:
        self._options, self._study, self._labels = options, study, study.task.labels
        self.outputs, self.channels = len(self._labels), study.input.channels
        self.noisy = self.outputs == 2
        patients = options.intervals == "patients" or (options.intervals is None and not self.noisy)
        self._layout = Layout(noise=self.noisy, clusters=patients)
        more = 0 if self.noisy else ClassCounts.length(self.outputs)
        self.meaning = Meaning(words=_words(study), link="softmax", channels=self._labels)
        self.counts = self._layout.length * len(self._findings()) + more

    def _findings(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """What is counted against all else: its name in figures, and its classes."""
        if self.noisy:
            return (("", (1,)),)
        place = {label: k for k, label in enumerate(self._labels)}
        whole = (("", tuple(place[label] for label in self._study.task.finding)),)
        return (*(whole if self._study.task.finding else ()), *((label, (k,)) for label, k in place.items()))

    def presence(self, target: NDArray[np.generic]) -> NDArray[np.bool_]:
        """[n] → [n, classes]."""
        found: NDArray[np.bool_] = target[:, None] == np.arange(self.outputs)
        return found

    def example(self, images: Tensor, target: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Both as they are."""
        del generator
        return images, target

    def loss(self, output: Tensor | Output, target: Tensor, class_weights: Sequence[float]) -> Tensor:
        """Of each image, scaled by the weight of its class, plus what the model adds, [n]."""
        import torch.nn.functional as F  # noqa: PLC0415  base.py says why

        def surprise(logits: Tensor, weight: Tensor | None, smoothing: float) -> Tensor:
            losses = F.cross_entropy(logits, target, weight=weight, reduction="none", label_smoothing=smoothing)
            return losses[:, None]

        return loss_of(output, class_weights, self._options, surprise)

    def measure(self, module: nn.Module, images: Tensor, target: Tensor, views: int) -> Floats:
        """Probability of each class, averaged over the views, [n, classes]."""
        del target
        return kept_of(images, views, lambda version: module(version).softmax(dim=1), mirrored_of(self._study.task))

    def count(self, measures: Floats, target: NDArray[np.generic], patients: NDArray[np.int64]) -> list[int]:
        """Each finding's integers, and of more than two classes who was taken for whom."""
        labels = np.asarray(target, np.int64)
        values: list[int] = []
        for _, classes in self._findings():
            inside = np.isin(labels, classes).astype(np.int64)
            values += self._layout.write(measures[:, classes].sum(axis=1), inside, patients)
        return values if self.noisy else values + ClassCounts.of(measures, labels, patients).to_integers()

    def finding(self, values: Sequence[int]) -> Finding | None:
        """The finding looked for, in counts of this kind; None of more than two classes without one."""
        first = next(self._read(values))
        return None if first.of else first

    def _read(self, values: Sequence[int]) -> Iterator[Finding]:
        length = self._layout.length
        for k, (name, _) in enumerate(self._findings()):
            yield self._layout.read(values[k * length : (k + 1) * length], name)

    def judge(self, values: Sequence[int], chosen_on: Sequence[int] | None = None) -> Judged:
        """Of the finding all figures; of several classes each one's areas, and how many are called rightly."""
        found = tuple(self._read(values))
        chosen = None if chosen_on is None else next(self._read(chosen_on))
        one = self._of_finding(found[0], chosen) if not found[0].of else None
        if self.noisy and one is not None:
            return one
        return self._of_classes(one, [finding for finding in found if finding.of], self._classes(values))

    def _of_finding(self, finding: Finding, chosen: Finding | None) -> Judged:
        aim, names = self._study.evaluation.sensitivity, self._names()
        return Judged(
            kind="classification",
            images=finding.counts.shown[0],
            figures=finding.figures(chosen, aim),
            curves=(*finding.curves(names[1]), *finding.decision()),
            tables=finding.table(chosen, aim, names),
        )

    def _of_classes(self, one: Judged | None, each: Sequence[Finding], classes: ClassCounts) -> Judged:
        """All classes, after what is said of the finding, if there is one."""
        if any(finding.counts.images != classes.images for finding in each) or (one and one.images != classes.images):
            raise unlikely(f"{classes.images} images against every class", "others")
        figures = [macro_area(each), *classes.figures()]
        figures += (figure for finding in each for figure in finding.figures(None, 0.5))
        return Judged(
            kind="classification",
            images=classes.images,
            figures=(*(one.figures if one else ()), *figures),
            curves=one.curves if one else curves_of(each),
            tables=(*(one.tables if one else ()), *classes.shown(self._labels)),
        )

    def _classes(self, values: Sequence[int]) -> ClassCounts:
        own = values[-ClassCounts.length(self.outputs) :]
        check(own)
        return ClassCounts.from_integers(self.outputs, own)

    def _names(self) -> tuple[str, str]:
        """What is not the finding, and what is."""
        finding = self._study.task.finding or self._labels[-1:]
        return ", ".join(label for label in self._labels if label not in finding), ", ".join(finding)


def _words(study: Study) -> str:
    """What the outputs are, and what of them is the score of the finding, if there is one."""
    told = "logits; softmax along dimension 1 makes probabilities of the classes"
    finding = study.task.finding or (study.task.labels[1:] if len(study.task.labels) == 2 else ())
    return f"{told}; the score of the finding is that of {' plus that of '.join(finding)}" if finding else told
