"""From the guesses of a trial to the figures of the record, and how many canaries it takes to prove anything.

found = audit_canaries(study, canaries_for(study))   # found.contradicted: an alarm
"""

import math

from client.privacy.release import release
from client.training.private import Release
from shared.accounting import SampledGaussian, noise_multiplier, planned_steps, rdp_epsilon
from shared.errors import InputError, MisuseError
from shared.study import Study
from simulations.audit.auditor import EACH
from simulations.audit.curve import MOST_EPSILON, Curve, curve_of
from simulations.audit.guesses import Guesses
from simulations.audit.noises import bare
from simulations.audit.record import Canaries, Noise
from simulations.audit.tradeoff import contradicted, least_refuted
from simulations.audit.trial import Told, Trial, trial

#: Canaries are at least so many, and so many times what perfect guesses would need: true ones are not perfect.
LEAST, SPARE = 16384, 4
#: The most that a trial can hold in memory and time.
MOST = 1 << 18


def claim_of(study: Study) -> Curve:
    """The privacy that the rounds of `study` promise, whole."""
    sigma, rate = noise_multiplier(study), study.privacy.sampling_rate
    if sigma is None or rate is None:
        raise MisuseError("study", expected="one with privacy", got="none")
    return curve_of(noise_multiplier=sigma, sampling_rate=rate, steps=planned_steps(study))


def least_canaries(study: Study) -> int:
    """The fewest, as a power of two, that contradict the study's promise if every guess is right. Raises InputError for
    an ε that no audit can refute."""
    claim, count = claim_of(study), 2
    while count <= MOST:
        if contradicted(Guesses(canaries=count, made=count, right=count), claim, level=EACH):
            return count
        count *= 2
    raise InputError(
        "study.toml: privacy.epsilon",
        expected=f"one that {MOST} canaries can refute",
        got=f"{study.privacy.epsilon:g}",
        do="Promise less: so large an ε is no protection.",
    )


def canaries_for(study: Study) -> int:
    """How many an audit of `study` plants if nobody says otherwise."""
    return min(MOST, max(LEAST, SPARE * least_canaries(study)))


def audit_canaries(
    study: Study, canaries: int, *, noise: Noise = "as promised", told: Told = lambda *_: None
) -> Canaries:
    """Run the trial of `study` and hold what was guessed against what is promised. Raises InputError for fewer canaries
    than could ever alarm."""
    least = least_canaries(study)
    if canaries < least:
        raise InputError(
            "--canaries",
            expected=f"at least {least}, without which nothing could contradict ε = {study.privacy.epsilon:g}",
            got=str(canaries),
            do="Raise it.",
        )
    chosen: Release = bare if noise == "none" else release
    return figures(study, trial(study, canaries, release=chosen, told=told), noise)


def figures(study: Study, found: Trial, noise: Noise) -> Canaries:
    """The record of a trial of `study`."""
    sigma, steps, privacy = noise_multiplier(study) or 0.0, planned_steps(study), study.privacy
    rate, delta, claim = privacy.sampling_rate or 1.0, privacy.delta or 0.0, claim_of(study)
    refuted = least_refuted(found.guesses, sampling_rate=rate, steps=steps, claimed=sigma, level=EACH)
    proven = 0.0
    if math.isfinite(refuted):
        proven = curve_of(noise_multiplier=refuted, sampling_rate=rate, steps=steps).epsilon(delta)
    accounted = rdp_epsilon((SampledGaussian(sampling_rate=rate, noise_multiplier=sigma, steps=steps),), delta)
    return Canaries(
        mode="local" if privacy.mode == "local" else "distributed",
        noise=noise,
        delta=delta,
        asked=privacy.epsilon or 0.0,
        accounted=accounted,
        tight=min(accounted, claim.epsilon(delta)),
        noise_multiplier=sigma,
        sampling_rate=rate,
        steps=steps,
        sites=found.sites,
        colluders=found.colluders,
        canaries=found.guesses[0].canaries,
        guesses=found.guesses,
        promised=sigma,
        measured=found.noise,
        empirical=min(proven, MOST_EPSILON),
        empirical_pair=max(guesses.epsilon(delta, level=EACH) for guesses in found.guesses),
        contradicted=any(contradicted(guesses, claim, level=EACH) for guesses in found.guesses),
    )
