"""Opacus's accountants, on merged histories: (σ, sampling rate, steps) of each kind of step.

Importing this loads torch, which Opacus needs to be imported at all; `shared.accounting` does so only where it must.
"""

import functools
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from opacus.accountants import PRVAccountant
from opacus.accountants.analysis import rdp
from opacus.accountants.rdp import RDPAccountant

from shared.errors import InputError
from shared.study import Privacy

#: Beyond this a step carries nothing but noise: the target is refused instead.
MOST_NOISE = 1000.0
#: Rényi orders: Opacus's own, and larger ones for small ε.
ORDERS = [*RDPAccountant.DEFAULT_ALPHAS, 72.0, 96.0, 128.0, 192.0, 256.0, 512.0]

#: (σ, sampling rate, steps) of each kind of step
Merged = tuple[tuple[float, float, int], ...]


@functools.lru_cache(maxsize=256)
def rdp_epsilon(history: Merged, delta: float) -> float:
    """ε at `delta` by Rényi composition (Mironov 2017; Mironov, Talwar, Zhang 2019)."""
    total = sum(
        rdp.compute_rdp(q=rate, noise_multiplier=sigma, steps=steps, orders=ORDERS) for sigma, rate, steps in history
    )
    with _edge_of_orders():
        epsilon, _ = rdp.get_privacy_spent(orders=ORDERS, rdp=total, delta=delta)
    return float(epsilon)


@contextmanager
def _edge_of_orders() -> Iterator[None]:
    """Opacus warns where the best order is the first or last tried; the ε it gives is a valid, larger bound."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Optimal order is the .*", category=UserWarning)
        yield


def prv_epsilon(history: Merged, delta: float) -> float:
    """ε at `delta` by numerical composition (Gopi, Lee, Wutschitz 2021): its upper bound."""
    accountant = PRVAccountant()
    accountant.history = list(history)
    with (
        _edge_of_orders(),
        np.errstate(divide="ignore"),
    ):  # log 0 at the very edge of a loss's support is -inf, as meant
        return float(accountant.get_epsilon(delta))


def least_noise(privacy: Privacy, steps: int) -> float:
    """The smallest σ, to 1e-4, with which `steps` steps stay within the target. Raises InputError where none does."""

    def epsilon(sigma: float) -> float:
        return rdp_epsilon(((sigma, privacy.sampling_rate or 1.0, steps),), privacy.delta or 0.0)

    target = privacy.epsilon or 0.0
    if epsilon(MOST_NOISE) > target:
        raise InputError(
            "study.toml: privacy.epsilon",
            expected=f"a target that {steps} steps can meet at sampling_rate {privacy.sampling_rate}"
            f" with a noise multiplier up to {MOST_NOISE:g}",
            got=f"{target:g} at delta {privacy.delta:g}",
            do="Raise epsilon or delta, or take fewer rounds, fewer local_steps or a lower sampling_rate.",
        )
    low, high = math.log(0.1), math.log(MOST_NOISE)
    while high - low > 1e-5:
        middle = (low + high) / 2
        low, high = (middle, high) if epsilon(math.exp(middle)) > target else (low, middle)
    return math.ceil(math.exp(high) * 1e4) / 1e4
