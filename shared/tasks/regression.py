"""One measured value for each image: an age, a volume, a fraction.

`minimum` and `maximum` of the study are the value's public range: inside it everything is scaled to [0, 1], true values
beyond it are held at its ends and counted. The network's one output is the difference from the middle of the range.

Measures of an image: what is predicted and what is true, scaled, [n, 2]. Counts: shared/differences.py. The headline is
the mean absolute error, patients as clusters; R² and correlation are also formed about each hospital's own mean, so
that differences between hospitals cannot pass for skill.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from shared.differences import ERRORS, UNIT, Differences, mean_interval
from shared.errors import InputError
from shared.judged import Better, Curve, Figure, Judged, known
from shared.meaning import Meaning, Value
from shared.pair_noise import Z_95
from shared.study import Study
from shared.tasks.base import Floats, Target

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from shared.models.layers import Output


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`minimum` and `maximum` of the value, in `unit`; `loss`: "huber" is quadratic up to `delta`, a share of the
    range, and linear beyond."""

    minimum: float | None = None
    maximum: float | None = None
    unit: str = ""
    loss: Literal["huber", "mse"] = "huber"
    delta: Annotated[float, Meta(gt=0, le=1)] = 0.1


def create(options: Options, study: Study) -> Regression:
    """Raises InputError without a range or for more than one label, the value's name."""
    if len(study.task.labels) != 1:
        raise InputError("task.labels", expected="one label, the value's name", got=str(len(study.task.labels)))
    if options.minimum is None or options.maximum is None or not options.minimum < options.maximum:
        raise InputError(
            "task.options",
            expected="minimum below maximum: the value's range, known to everybody",
            got=f"minimum {options.minimum}, maximum {options.maximum}",
            do="Name a range that any patient's value lies in; never take it from the data.",
        )
    return Regression(options, options.minimum, options.maximum, study)


class Regression:
    """The value between `low` and `high`."""

    target: Target = "value"
    noisy = False
    outputs = 1
    counts = Differences.LENGTH

    def __init__(self, options: Options, low: float, high: float, study: Study) -> None:
        self._options, self._low, self._range = options, low, high - low
        self._name, self.channels = study.task.labels[0], study.input.channels
        value = Value(minimum=low, maximum=high, unit=options.unit)
        words = f"{self._name}{f' in {value.unit}' if value.unit else ''} = {low:g} + {high - low:g} × (output + 0.5)"
        held = f"{words}, held between {low:g} and {high:g}"
        self.meaning = Meaning(words=held, link="mean", channels=(self._name,), value=value)

    def presence(self, target: NDArray[np.generic]) -> NDArray[np.bool_]:
        """Every image has the value, [n, 1]."""
        return np.ones((len(target), 1), np.bool_)

    def example(self, images: Tensor, target: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """The images, and the scaled values."""
        del generator
        return images, ((target.float() - self._low) / self._range).clamp(0.0, 1.0)

    def loss(self, output: Tensor | Output, target: Tensor, class_weights: Sequence[float]) -> Tensor:
        """Of each image's scaled value, plus what the model adds, [n]; a single value has no weight."""
        import torch.nn.functional as F  # noqa: PLC0415  base.py says why

        from shared.models.layers import parts_of  # noqa: PLC0415

        del class_weights
        outputs, penalty = parts_of(output)
        predicted = outputs.float()[:, 0] + 0.5
        if self._options.loss == "mse":
            return F.mse_loss(predicted, target, reduction="none") + penalty
        return F.huber_loss(predicted, target, reduction="none", delta=self._options.delta) + penalty

    def measure(self, module: nn.Module, images: Tensor, target: Tensor, views: int) -> Floats:
        """What is predicted, averaged over the views, and what is true, both scaled, [n, 2]."""
        import torch  # noqa: PLC0415

        from shared.models.views import over_views  # noqa: PLC0415

        predicted = over_views(images, views, lambda version: module(version)[:, 0].float() + 0.5)
        predicted = predicted.nan_to_num(nan=0.5)  # no number says nothing of the value: the middle of its range
        both = torch.stack([predicted, (target.float() - self._low) / self._range], dim=1)
        found: Floats = both.cpu().numpy().astype(np.float64)
        return found

    def count(self, measures: Floats, target: NDArray[np.generic], patients: NDArray[np.int64]) -> list[int]:
        """The sums of shared/differences.py."""
        del target
        return Differences.of(measures[:, 0], measures[:, 1], patients).to_integers()

    def judge(self, values: Sequence[int], chosen_on: Sequence[int] | None = None) -> Judged:
        """Errors in the value's own unit, and how well values are told apart."""
        del chosen_on
        found = Differences.from_integers(values)
        return Judged(
            kind="regression",
            images=found.images,
            figures=(*self._errors(found), *self._agreement(found), *_told_apart(found)),
            curves=(*self._spread(found), *self._reliability(found)),
        )

    def _figure(
        self, name: str, value: float, shown: str, ends: tuple[float, float] | None = None, better: Better = "lower"
    ) -> Figure:
        """`value` and its interval, from shares of the range to the value's unit."""
        low, high = (known(self._range * end) for end in ends) if ends else (None, None)
        shown, value = f"{shown}, {self._name}", self._range * value
        return Figure(name, known(value), shown, low, high, better=better, unit=self._options.unit)

    def _errors(self, found: Differences) -> tuple[Figure, ...]:
        absolute, square = found.absolute, found.square
        of_mean, of_squares = (np.maximum(0.0, mean_interval(mean)) for mean in (absolute, square))  # nan stays
        low, high = map(float, of_mean)
        least, most = map(float, np.sqrt(of_squares))
        return (
            self._figure("mae", absolute.value, "Mean absolute error", (low, high)),
            self._figure("median_error", found.quantile(0.5), "Median absolute error"),
            self._figure("error_90", found.quantile(0.9), "Absolute error that 90 % stay below"),
            self._figure("rmse", max(0.0, square.value) ** 0.5, "Root mean square error", (least, most)),
        )

    def _agreement(self, found: Differences) -> tuple[Figure, ...]:
        """Bias and limits of agreement (Bland and Altman, Lancet 1986; 327:307–310): best near 0, so neither way."""
        bias, width = found.bias, Z_95 * found.spread
        return (
            self._figure("bias", bias.value, "Mean of predicted − true", mean_interval(bias), "higher"),
            self._figure("agreement_low", bias.value - width, "Lower limit of agreement", better="higher"),
            self._figure("agreement_high", bias.value + width, "Upper limit of agreement", better="higher"),
        )

    def _spread(self, found: Differences) -> tuple[Curve, ...]:
        """How many images are off by at most so much."""
        if not found.images:
            return ()
        x = self._range * np.arange(ERRORS + 1) / ERRORS
        y = np.r_[0, np.cumsum(found.errors)] / found.images
        axes = f"Absolute error{f', {self._options.unit}' if self._options.unit else ''}", "Share of the images"
        return (Curve("Absolute errors", self._name, *axes, tuple(x.tolist()), tuple(y.tolist())),)

    def _reliability(self, found: Differences) -> tuple[Curve, ...]:
        """Mean true value over mean prediction, by tenths of the range."""
        some = found.groups > 0
        if not some.any():
            return ()
        x, y = (
            self._low + self._range * sums[some] / UNIT / found.groups[some] for sums in (found.predicted, found.true)
        )
        axes = f"Predicted {self._name}", f"True {self._name}"
        return (Curve("Predicted and true", self._name, *axes, tuple(x.tolist()), tuple(y.tolist())),)


def _told_apart(found: Differences) -> tuple[Figure, ...]:
    rows = (
        ("r2", found.determination(within=False), "R²"),
        ("r2_within", found.determination(within=True), "R² within hospitals"),
        ("correlation", found.correlation(within=False), "Correlation"),
        ("correlation_within", found.correlation(within=True), "Correlation within hospitals"),
    )
    figures = (Figure(name, known(value), shown) for name, value, shown in rows)
    return (*figures, Figure("outside", found.outside, "Images with a value outside the range", better="lower"))
