"""What ε and noise would become with other rounds, targets and sampling rates: the tables of a plan.

All ε are Rényi ones, by which ledgers count. Nothing is trained; None stands where no usable noise meets a target.

    >>> study = read_study(Path("docs/studies/skin-private.toml"))
    >>> round(epsilons(study, sigma=2.512).values[2][2], 2)  # at the study's own rounds and σ
    8.0
"""

from dataclasses import dataclass

from shared.accounting import rdp_epsilon_of
from shared.renyi import least_noise
from shared.study import Study

#: Target ε, beside the study's own.
TARGETS = (1.0, 2.0, 4.0, 8.0)
#: What rounds, noise and rate are varied by.
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
#: What σ is varied by: each time the noise's variance doubles.
NOISES = (0.5, 0.71, 1.0, 1.41, 2.0)


@dataclass(frozen=True)
class Varied:
    """One figure for each of `rows` × `columns`."""

    rows: tuple[float, ...]
    columns: tuple[float, ...]
    values: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class Rate:
    """Another sampling rate, and the batch along with it: ε at the study's σ; σ for the study's ε, and the noise's norm
    ÷ the longest signal then."""

    sampling_rate: float
    batch: int
    epsilon: float
    noise_multiplier: float | None
    per_clip: float | None


def _rounds(study: Study) -> tuple[int, ...]:
    return tuple(sorted({max(1, round(study.training.rounds * factor)) for factor in FACTORS}))


def _epsilon(study: Study, sigma: float, rate: float, rounds: int) -> float:
    steps = rounds * (study.training.local_steps or 0)
    return rdp_epsilon_of({(sigma, rate): steps}, (0.0, 0.0), study.privacy.delta or 0.0)


def _sigma(study: Study, epsilon: float, rate: float, rounds: int) -> float | None:
    return least_noise(epsilon, study.privacy.delta or 0.0, rate, rounds * (study.training.local_steps or 0))


def epsilons(study: Study, sigma: float) -> Varied:
    """ε by rounds and noise multiplier around those of the private `study`, at its sampling rate."""
    rate, rounds = study.privacy.sampling_rate or 1.0, _rounds(study)
    noises = tuple(sigma if factor == 1.0 else float(f"{sigma * factor:.3g}") for factor in NOISES)
    return Varied(rounds, noises, tuple(tuple(_epsilon(study, each, rate, n) for each in noises) for n in rounds))


def noises(study: Study, targets: tuple[float, ...]) -> Varied:
    """σ by target ε (`targets` and the study's own) and rounds, at the study's sampling rate and δ."""
    rate, rounds = study.privacy.sampling_rate or 1.0, _rounds(study)
    rows = tuple(sorted({*targets, study.privacy.epsilon or 1.0}))
    return Varied(rows, rounds, tuple(tuple(_sigma(study, each, rate, n) for n in rounds) for each in rows))


def rates(study: Study, sigma: float, per_clip: float) -> tuple[Rate, ...]:
    """Other sampling rates, with the batch changed by the same factor; `per_clip` is the ratio at the study's own."""
    found, own = [], study.privacy.sampling_rate or 1.0
    for factor in sorted({min(factor, 1 / own) for factor in FACTORS}):
        rate = min(1.0, own * factor)
        needed = _sigma(study, study.privacy.epsilon or 0.0, rate, study.training.rounds)
        found.append(
            Rate(
                sampling_rate=rate,
                batch=max(1, round(study.training.batch * factor)),
                epsilon=_epsilon(study, sigma, rate, study.training.rounds),
                noise_multiplier=needed,
                per_clip=None if needed is None else per_clip * needed / sigma / factor,
            )
        )
    return tuple(found)
