"""Adaptive clipping at no further ε: the clip follows the norm that a chosen share of the patients stays below.

After Andrew et al. 2021 (arXiv 1905.03871), but within the one clipped vector: patient p contributes
[clip(g_p, C √(1 − κ²/4)), κ C (b_p − ½)], b_p = 1 where ‖g_p‖ stayed within its clip. Its norm is at most C, so the
step is the very mechanism it was without the last entry: same sensitivity, same noise, same event. What it costs is
κ²/8 of the gradients' length, and the public clip C of the next step follows from what was released anyway.

Norm: L2. Neighbouring: all images of one patient added or removed. Pure.

    >>> moved(1.0, share_within(0.0, 1.0, batch=10), quantile=0.5)
    1.0
"""

import math

#: κ: how much of the clip the bit may use.
BIT = 0.25
#: How fast the clip follows (Andrew et al. 2021, their η_C).
RATE = 0.2
#: The clip stays within so many times the study's own: a hospital refuses others.
RANGE = 2.0**20


def gradient_clip(clip: float) -> float:
    """What is left of `clip` for the gradient."""
    return clip * math.sqrt(1 - BIT * BIT / 4)


def bit_entry(clip: float, *, within: int, drawn: int) -> float:
    """The last entry of a sum over `drawn` patients of whom `within` stayed within the gradient's clip."""
    return BIT * clip * (within - drawn / 2)


def share_within(entry: float, clip: float, *, batch: int) -> float:
    """The share of patients that a noisy last `entry` speaks of, in [0, 1]; `batch` is the public divisor."""
    return min(1.0, max(0.0, entry / (BIT * clip * batch) + 0.5))


def moved(clip: float, share: float, *, quantile: float) -> float:
    """The clip of the next step: smaller if more than `quantile` of the patients were within."""
    return clip * math.exp(RATE * (quantile - share))


def is_near(clip: float, first: float) -> bool:
    """Whether `clip` can have come of the study's `first`."""
    return math.isfinite(clip) and first / RANGE <= clip <= first * RANGE
