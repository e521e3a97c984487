"""What follows from the masked survey: class weights, and how bright the training images are. Pure.

>>> class_weights(study, survey)  # asked "balanced", 300 and 100 images
(0.6666666666666666, 2.0)
"""

import numpy as np

from server.report.result import SurveyFigures
from shared.study import Study
from shared.survey import INTENSITY_BINS, Survey
from shared.tasks.registry import kind_of

#: No label weighs more: it would rest on a handful of images.
MOST_WEIGHT = 100.0


def class_weights(study: Study, survey: Survey) -> tuple[float, ...]:
    """One weight per label: the study's own numbers, or inverse to the surveyed counts, 1 for a label that an n-th of
    the images has, n being the number of labels; of findings that may be there together, images without one for each
    with it, at most MOST_WEIGHT.

    Of hospitals that hide a small count the label is not in the counts (client/survey.py): the weights are those of the
    others, and equal where nothing is known of any.
    """
    asked = study.training.class_weights
    if asked == "equal":
        return (1.0,) * len(study.task.labels)
    if asked != "balanced":
        return asked
    if kind_of(study).target == "classes":
        return tuple(_against_all(count, survey.splits[0]) for count in survey.labels)
    counts = [max(1, count) for count in survey.labels]
    return tuple(sum(counts) / (len(counts) * count) for count in counts)


def _against_all(count: int, images: int) -> float:
    """Images without a finding for each with it; 1 where it is known of none or of all."""
    without = max(0, images - count)
    return min(MOST_WEIGHT, without / count) if count and without else 1.0


def surveyed(study: Study, survey: Survey, weights: tuple[float, ...]) -> SurveyFigures:
    """`survey` in figures for the report; `weights` are the class weights that training gets."""
    names, spread = study.task.labels, np.array(survey.intensities, dtype=np.float64)
    total = float(spread.sum())
    mean, deviation = _moments(spread) if total else (None, None)
    return SurveyFigures(
        labels=dict(zip(names, survey.labels, strict=True)),
        hidden_labels=survey.hidden_labels,
        class_weights=dict(zip(names, weights, strict=True)),
        intensities=tuple((spread / total).tolist()) if total else (),
        hidden_bins=survey.hidden_bins,
        mean=mean,
        deviation=deviation,
    )


def _moments(spread: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float, float]:
    """Mean and standard deviation of values that lie in the middle of their bins; but black stays black and white
    white: bins at the ends hold mostly 0 and 1 themselves."""
    middles = (np.arange(INTENSITY_BINS) + 0.5) / INTENSITY_BINS
    middles[0], middles[-1] = 0.0, 1.0
    mean = float(np.average(middles, weights=spread))
    return mean, float(np.sqrt(np.average((middles - mean) ** 2, weights=spread)))
