"""What a study will cost before anyone trains: its noise, its ε, what that leaves of a step, and what goes over the wire.

Guarantees: nothing of a hospital is looked at, only the study and two public guesses (hospitals, training patients);
the noise is the one that hospitals will add, computed by the same functions; a study that cannot be met or held raises
InputError, as it would at a hospital. ε in the tables is the Rényi one that ledgers count by. Pure.

Rules:
1. All hospitals take part and none is lost: the noise is then the largest, √(n ÷ (t − c)) times what is promised.
2. A step's signal is at most the clip: in mode "distributed" over all patients drawn, in mode "local" at each hospital,
   whose noise the mean over hospitals lowers by √n.

    >>> plan_of(study, sites=3, patients=3000).privacy.noise_multiplier
    1.3598
"""

import math
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
)
from shared.clipping import BIT, gradient_clip
from shared.errors import InputError
from shared.layout import layout_for
from shared.mechanism import Mechanism
from shared.renyi import least_noise
from shared.secagg.plan import threshold_for
from shared.study import Study
from shared.vectors import Codec, mechanism_of

#: Target ε of the table, beside the study's own.
TARGETS = (1.0, 2.0, 4.0, 8.0)
#: What rounds, noise and rate are varied by.
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
#: Trips of one sum (docs/protocol.md).
TRIPS = {"semi-honest": 2, "active": 3}


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
class Noise:
    """One step's averaged gradient of `entries` numbers: the noise's standard deviation in each, and its L2 norm.

    `per_clip` is that norm ÷ the longest that the patients' part can be (`clip`, times the expected patients ÷ batch).
    `surplus`: how many times the promised noise it is, for hospitals that may be lost or collude, and for rounding.
    `bits`: of the 32 that a hospital's sum of `batch` patients, all of them at the clip, and its noise need.
    `share_deviation`: how far off the share of patients within the clip is seen in a step (adaptive clipping).
    """

    entries: int
    deviation: float
    norm: float
    per_clip: float
    surplus: float
    bits: int
    share_deviation: float | None


@dataclass(frozen=True)
class Traffic:
    """Bytes of one hospital, vectors only: in a round, and in the whole run with its evaluations; `trips` of the run."""

    round_up: int
    round_down: int
    run_up: int
    run_down: int
    trips: int


@dataclass(frozen=True)
class Varied:
    """A table: `rows` × `columns` of one figure each; None where nothing usable exists."""

    rows: tuple[float, ...]
    columns: tuple[float, ...]
    values: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class Rate:
    """Another sampling rate, the batch along with it: ε at the study's σ; σ for the study's ε, and noise ÷ clip then."""

    sampling_rate: float
    batch: int
    epsilon: float
    noise_multiplier: float | None
    per_clip: float | None


@dataclass(frozen=True)
class Tables:
    """`epsilon`: by rounds and noise multiplier; `noise`: σ by target ε and rounds; `rates`: other sampling rates."""

    epsilon: Varied
    noise: Varied
    rates: tuple[Rate, ...]


@dataclass(frozen=True)
class Plan:
    """A study, planned. `expected`: patients drawn in a step, of all hospitals in mode "distributed", of one hospital in
    mode "local"; None without a guess. `parameters` of the model, `trained` of which move."""

    study: str
    mode: str
    sites: int
    patients: int | None
    rounds: int
    local_steps: int | None
    batch: int
    expected: float | None
    parameters: int
    trained: int
    clip: float | None
    epsilon: float | None
    privacy: Spent | None
    noise: Noise | None
    evaluations: tuple[Evaluated, ...]
    traffic: Traffic
    tables: Tables | None


def plan_of(
    study: Study, *, sites: int | None = None, patients: int | None = None, targets: tuple[float, ...] = TARGETS
) -> Plan:
    """`study` with `sites` hospitals (its `min_sites` if None) that train on `patients` in all, a public guess.

    Raises InputError where the study's ε cannot be met, 32 bits do not hold its sums, or hospitals are too few.
    """
    sites = study.federation.min_sites if sites is None else sites
    _check(study, sites, patients)
    layout = layout_for(study)
    sigma = noise_multiplier(study)
    expected = _expected(study, sites, patients)
    noise = None if sigma is None else _noise(study, sites, layout.moving, sigma, expected)
    return Plan(
        study=study.name,
        mode=study.privacy.mode,
        sites=sites,
        patients=patients,
        rounds=study.training.rounds,
        local_steps=study.training.local_steps,
        batch=study.training.batch,
        expected=expected,
        parameters=layout.size,
        trained=layout.moving,
        clip=study.privacy.clip,
        epsilon=study.privacy.epsilon,
        privacy=None if sigma is None else _training(study, sigma),
        noise=noise,
        evaluations=tuple(_evaluated(study, split) for split in (VALIDATION, TEST)),
        traffic=_traffic(study, sites, layout.size, layout.moving),
        tables=None if sigma is None or noise is None else _tables(study, sigma, noise, targets),
    )


def _check(study: Study, sites: int, patients: int | None) -> None:
    least = study.federation.min_sites
    if not least <= sites <= 200:
        raise InputError("--sites", expected=f"{least} (federation.min_sites) to 200", got=str(sites))
    if patients is not None and patients < sites:
        raise InputError("--patients", expected=f"at least one at each of {sites} hospitals", got=str(patients))


def _expected(study: Study, sites: int, patients: int | None) -> float | None:
    rate = study.privacy.sampling_rate
    if patients is None or rate is None:
        return None
    return rate * patients / (sites if study.privacy.mode == "local" else 1)


def _spent(event: SampledGaussian, steps: int, delta: float) -> Spent:
    all_of_it = [event] * steps
    return Spent(
        noise_multiplier=event.noise_multiplier,
        sampling_rate=event.sampling_rate,
        steps=steps * event.steps,
        delta=delta,
        rdp_epsilon=rdp_epsilon(all_of_it, delta),
        prv_epsilon=prv_epsilon(all_of_it, delta),
    )


def _training(study: Study, sigma: float) -> Spent:
    return _spent(round_event(study, sigma), study.training.rounds, study.privacy.delta or 0.0)
