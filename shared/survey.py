"""The first sum of a run: what hospitals hold, as counts in an order that both ends know."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from shared.counts import count_plain, read_counts
from shared.reasons import Reason
from shared.secagg.collector import Total
from shared.secagg.member import Plain

SPLITS = ("train", "validation", "test")
#: Bins of the intensity histogram: bin k holds the tensor's values from k / 64 on, the last one 1 too.
INTENSITY_BINS = 64
#: What one image puts into the histogram in all, whatever its size: the same for every image of every hospital.
IMAGE_UNITS = 1 << 16
#: Counts of a survey beside those of the labels.
SURVEY_COUNTS = 1 + len(SPLITS) + 2 + INTENSITY_BINS + len(Reason)


@dataclass(frozen=True)
class Survey:
    """What hospitals hold, of one site or summed: images by split, training images by label, files left out.

    `intensities`: how the values of the training images' tensors are spread, IMAGE_UNITS an image. Counts of labels and
    of bins that come from few patients are 0 (client/survey.py); `hidden_labels` and `hidden_bins` say how many are.
    """

    splits: tuple[int, ...]
    labels: tuple[int, ...]
    skipped: Mapping[Reason, int]
    hidden_labels: int = 0
    hidden_bins: int = 0
    intensities: tuple[int, ...] = (0,) * INTENSITY_BINS


def survey_plain(survey: Survey) -> Plain:
    """One site's survey. Reasons stand last: their list grows."""
    hidden = survey.hidden_labels, survey.hidden_bins
    skipped = [survey.skipped.get(reason, 0) for reason in Reason]
    return count_plain([*survey.splits, *survey.labels, *hidden, *survey.intensities, *skipped])


def read_survey(total: Total, survivors: int, labels: int) -> Survey:
    """The summed survey of a study with so many labels."""
    values = iter(read_counts(total, survivors))
    return Survey(
        splits=tuple(islice(values, len(SPLITS))),
        labels=tuple(islice(values, labels)),
        hidden_labels=next(values),
        hidden_bins=next(values),
        intensities=tuple(islice(values, INTENSITY_BINS)),
        skipped=dict(zip(Reason, values, strict=True)),
    )
