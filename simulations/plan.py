"""What a study will cost before anyone trains: its noise, its ε, what that leaves of a step, what goes over the wire.

Guarantees: nothing of a hospital is looked at, only the study and two public guesses (hospitals, training patients);
the figures come from the functions that hospitals and coordinator use; a study that cannot be met or held raises
InputError, as it would there. Pure.

    >>> plan_of(read_study(Path("docs/studies/skin-private.toml")), patients=2500).privacy.noise_multiplier
    2.512
"""

from dataclasses import dataclass

from shared.accounting import (
    TEST,
    VALIDATION,
    SampledGaussian,
    evaluation_event,
    noise_multiplier,
    planned_evaluations,
    prv_epsilon,
    rdp_epsilon,
    round_event,
)
from shared.algorithms.registry import algorithm_of
from shared.errors import InputError
from shared.layout import layout_for
from shared.study import Study
from shared.update import Codec
from simulations.plan_noise import Noise, noise_of
from simulations.plan_tables import TARGETS, Rate, Varied, epsilons, noises, rates

#: Trips of one sum (docs/protocol.md).
TRIPS = {"none": 1, "semi-honest": 2, "active": 3}
#: The most hospitals of a roster.
MOST_SITES = 200


@dataclass(frozen=True)
class Spent:
    """`steps` at σ `noise_multiplier`, and what they come to for one patient: ε at `delta`, as ledgers count it and as
    the report shows it. `sampling_rate` 1: everybody takes part."""

    noise_multiplier: float
    sampling_rate: float
    steps: int
    delta: float
    rdp_epsilon: float
    prv_epsilon: float


@dataclass(frozen=True)
class Evaluated:
    """How often the patients of `split` are evaluated, and what that spends of each; `spent` None without noise."""

    split: str
    times: int
    spent: Spent | None


@dataclass(frozen=True)
class Traffic:
    """Bytes of one hospital, vectors only: in a round, and in the run with its evaluations; `trips` of the run."""

    round_up: int
    round_down: int
    run_up: int
    run_down: int
    trips: int


@dataclass(frozen=True)
class Tables:
    """ε by rounds and σ, σ by ε and rounds, and other sampling rates."""

    epsilons: Varied
    noises: Varied
    rates: tuple[Rate, ...]


@dataclass(frozen=True)
class Plan:
    """`study`, planned. `expected`: patients drawn in a step, of all hospitals in mode "distributed", of each in mode
    "local"; None without a guess. `trained` of the model's `parameters` move. Without privacy there is none of
    `privacy`, `noise` and `tables`."""

    study: Study
    sites: int
    patients: int | None
    expected: float | None
    parameters: int
    trained: int
    privacy: Spent | None
    noise: Noise | None
    evaluations: tuple[Evaluated, ...]
    traffic: Traffic
    tables: Tables | None


def plan_of(
    study: Study, *, sites: int | None = None, patients: int | None = None, targets: tuple[float, ...] = TARGETS
) -> Plan:
    """`study` with `sites` hospitals (its `min_sites` if None) that train on `patients` in all.

    Raises InputError where an ε of the study cannot be met, 32 bits do not hold its sums, or hospitals are too few.
    """
    sites = study.federation.min_sites if sites is None else sites
    _check(study, sites, patients)
    layout, sigma, expected = layout_for(study), noise_multiplier(study), _expected(study, sites, patients)
    spent, noise, tables = None, None, None
    if sigma is not None:
        spent = _spent(round_event(study, sigma), study.training.rounds, study.privacy.delta)
        noise = noise_of(study, sites=sites, entries=layout.moving, expected=expected)
        tables = Tables(epsilons(study, sigma), noises(study, targets), rates(study, sigma, noise.per_clip))
    return Plan(
        study=study,
        sites=sites,
        patients=patients,
        expected=expected,
        parameters=layout.size,
        trained=layout.moving,
        privacy=spent,
        noise=noise,
        evaluations=_evaluations(study),
        traffic=_traffic(study, sites, layout.moving),
        tables=tables,
    )


def _check(study: Study, sites: int, patients: int | None) -> None:
    least = study.federation.min_sites
    if not least <= sites <= MOST_SITES:
        raise InputError(
            "--sites",
            expected=f"{least} (federation.min_sites) to {MOST_SITES}",
            got=str(sites),
            do="Plan for the hospitals that will take part.",
        )
    if patients is not None and patients < sites:
        raise InputError(
            "--patients",
            expected=f"one or more at each of {sites} hospitals",
            got=str(patients),
            do="Give the training patients of all hospitals together, roughly.",
        )


def _expected(study: Study, sites: int, patients: int | None) -> float | None:
    rate = study.privacy.sampling_rate
    if patients is None or rate is None:
        return None
    return rate * patients / (sites if study.privacy.mode == "local" else 1)


def _spent(event: SampledGaussian, times: int, delta: float | None) -> Spent:
    events, at = [event] * times, delta or 0.0
    return Spent(
        noise_multiplier=event.noise_multiplier,
        sampling_rate=event.sampling_rate,
        steps=times * event.steps,
        delta=at,
        rdp_epsilon=rdp_epsilon(events, at),
        prv_epsilon=prv_epsilon(events, at),
    )


def _evaluations(study: Study) -> tuple[Evaluated, ...]:
    times, noisy, delta = planned_evaluations(study), study.evaluation.epsilon is not None, study.evaluation.delta
    return tuple(
        Evaluated(name, times[split], _spent(evaluation_event(study, split), times[split], delta) if noisy else None)
        for name, split in (("validation", VALIDATION), ("test", TEST))
    )


def _traffic(study: Study, sites: int, trained: int) -> Traffic:
    """float32 weights go down in every step, words go up in training: of the `trained` parameters that move."""
    if study.privacy.mode == "distributed":
        up = 4 * (trained + (study.privacy.clip_quantile is not None))
    else:
        words = Codec.of(study, cohort=sites, parameters=trained, seed=bytes(32)).length
        up = words * study.aggregation.bits // 8
    beside = algorithm_of(study).beside
    rounds, sums = study.training.rounds, study.training.rounds + sum(planned_evaluations(study).values())
    return Traffic(
        round_up=up,
        round_down=4 * trained * (1 + beside),
        run_up=up * rounds,
        run_down=4 * trained * (sums + beside * rounds),
        trips=TRIPS[study.aggregation.adversary] * sums,
    )
