"""One of several classes for each image. Of two, the last is the finding looked for; of more, those that the study's
`task.finding` names together, if it names any.

Measures of an image: its probability of each class, [n, classes]. Counts of two classes: BinaryCounts of the finding
(`intervals = "patients"` adds what intervals at the operating point need of patients as clusters). Of more: the same of
the finding (its score is the sum of its classes' probabilities) and of each class against all others, then how often
each class was taken for which. The headline is the site-stratified AUC of the finding (pairs of images are compared
within a hospital only), or without a finding its mean over the classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from shared.class_figures import Scored, all_classes, macro_area, read_finding, write_finding
from shared.confusion import ClassCounts
from shared.errors import InputError, unlikely
from shared.finding import Finding
from shared.judged import Judged
from shared.metrics import BinaryCounts
from shared.study import Study
from shared.tasks.base import Floats, Target

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from shared.models.layers import Output

