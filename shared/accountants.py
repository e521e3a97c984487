"""Opacus's numerical accountant, on merged histories: (σ, sampling rate, steps) of each kind of step.

Importing this loads torch, which Opacus needs to be imported at all; `shared.accounting` does so only where it must.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from opacus.accountants import PRVAccountant

#: (σ, sampling rate, steps) of each kind of step
Merged = tuple[tuple[float, float, int], ...]
#: The mesh is as fine as this share of what is measured, or this much.
SHARE, MOST_ERROR = 1 / 200, 0.01


@contextmanager
def _edges() -> Iterator[None]:
    """Opacus warns where the best order is the first or last tried; the ε it gives is a valid, larger bound. The
    logarithm of 0 at the very edge of a loss's support is -inf, as meant."""
    with warnings.catch_warnings(), np.errstate(divide="ignore"):
        warnings.filterwarnings("ignore", message="Optimal order is the .*", category=UserWarning)
        yield


def prv_epsilon(history: Merged, delta: float, about: float) -> float:
    """ε at `delta` by numerical composition (Gopi, Lee, Wutschitz 2021): its upper bound. `about`: ε by other means."""
    accountant = PRVAccountant()
    accountant.history = list(history)
    with _edges():
        return float(accountant.get_epsilon(delta, eps_error=min(MOST_ERROR, about * SHARE)))
