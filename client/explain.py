"""A study in plain words, for the people of the hospital who decide: what it does, what leaves, what it costs.

Everything here is derived from the study that was signed, this hospital's own policy and its own ledger; nothing is
taken from the coordinator's description. Nothing of the study is run: no model is built, no image is read.
"""

import math
from dataclasses import dataclass

from msgspec.structs import replace

from client.approvals import Asked
from client.ledger import Ledger
from client.policy import Policy
from client.rules import Finding, findings
from shared.accounting import (
    Event,
    SampledGaussian,
    alone,
    evaluation_event,
    noise_multiplier,
    planned_evaluations,
    rdp_epsilon,
    round_event,
)
from shared.errors import InputError
from shared.study import Study, study_hash
from shared.vectors import honest_of


@dataclass(frozen=True)
class Explained:
    """One study for its readers. Lines are whole sentences; `rules` say which of the policy's it meets or breaks."""

    hash: str
    name: str
    decision: str
    asked: str
    signer: str
    run: str
    does: tuple[str, ...]
    leaves: tuple[str, ...]
    stays: tuple[str, ...]
    privacy: tuple[str, ...]
    rules: tuple[Finding, ...]


def explain(asked: Asked, policy: Policy, ledger: Ledger) -> Explained:
    """`asked` in words, as `policy` and what `ledger` holds today make it."""
    study = asked.study
    return Explained(
        hash=asked.hash,
        name=study.name,
        decision=asked.decision,
        asked=asked.at,
        signer=asked.operator.hex(),
        run=asked.run,
        does=_does(asked, policy),
        leaves=_leaves(study, policy),
        stays=_stays(study),
        privacy=_privacy(study, policy, ledger),
        rules=(*findings(policy, study), *_budget(study, policy, ledger)),
    )


def _does(asked: Asked, policy: Policy) -> tuple[str, ...]:
    study, training = asked.study, asked.study.training
    size = " × ".join(map(str, study.input.size))
    unit = "voxels" if study.input.kind == "volume" else "pixels"
    options = ", ".join(f"{name} {value}" for name, value in sorted(study.model.options.items()))
    colour = "colour" if study.input.color else "grey"
    one = "1 step" if training.local_steps == 1 else f"{training.local_steps} steps"
    steps = one if training.local_steps else f"{training.local_epochs} passes"
    peers = f", {', '.join(policy.aggregation.peers)} among them" if policy.aggregation.peers else ""
    return (
        _task(study),
        f"Reads images of modality {' or '.join(study.input.modalities)}, as {size} {unit} in {colour}.",
        f"Trains the model {study.model.name}{f' ({options})' if options else ''}.",
        f"Takes {training.rounds} rounds of {steps}, {_patients(study)}.",
        *_starts(study),
        f"Holds {study.evaluation.test:.0%} of patients out for the test, {study.evaluation.validation:.0%} to choose.",
        f"Works with at least {study.federation.min_sites} of {', '.join(asked.sites) or 'the members'}{peers}.",
    )


def _task(study: Study) -> str:
    """What is learned. A kind that is not known here is named as the study names it."""
    task, labels = study.task, ", ".join(f'"{label}"' for label in study.task.labels)
    if task.kind == "classification" and len(task.labels) == 2:
        return f'Learns to tell "{task.labels[1]}" from "{task.labels[0]}".'
    finding = ", ".join(f'"{label}"' for label in task.finding)
    words = {
        "classification": f"Learns which of {labels} an image shows",
        "multilabel": f"Learns which of {labels} an image shows, none or several",
        "regression": f"Learns to estimate {labels}",
    }
    learns = words.get(task.kind, f"Learns {task.kind}{f' of {labels}' if labels else ''}")
    return f"{learns}{f'; {finding} together are the finding looked for' if finding else ''}."


def _patients(study: Study) -> str:
    """Whom a step looks at."""
    rate = study.privacy.sampling_rate
    if rate is None:
        return f"over batches of {study.training.batch} patients"
    return f"each patient drawn with probability {rate:g} in each step"


def _starts(study: Study) -> tuple[str, ...]:
    """Weights that are not made here, and those that stay."""
    model, lines = study.model, []
    if model.init:
        lines.append(
            f"Starts from the weights of {model.init} (SHA-256 {model.init_sha256[:16]}…): ask what they were made of."
        )
    if model.frozen:
        lines.append(f"Leaves the weights under {', '.join(model.frozen)} as they are.")
    if model.trained or model.adapter_rank:
        adapters = f"adapters of rank {model.adapter_rank} and " if model.adapter_rank else ""
        lines.append(f"Trains {adapters}{', '.join(model.trained or ('head',))}; the other weights stay as they are.")
    return tuple(lines)


def _leaves(study: Study, policy: Policy) -> tuple[str, ...]:
    cohort, shows = study.federation.min_sites, policy.evaluation
    lines = [
        _update(study, cohort),
        "Masked counts, readable as such sums: images by split, files left out by reason, how well the model "
        f"does on held-out patients{', with noise' if study.evaluation.epsilon is not None else ''}.",
        "Masked counts of training images by label and by brightness; those that rest on fewer than "
        f"{shows.smallest_count} patients of this hospital leave as 0.",
        "In the clear: how long each step took" + ("." if shows.per_site_counts else ", on a coarse scale."),
    ]
    if study.federation.guard:
        lines.append("A masked vote after each round: whether the new model is worse on this hospital's own patients.")
    if study.privacy.mode != "off" or study.evaluation.epsilon is not None:
        lines.append(f"In the clear: the ε of a patient in this run{' and in all' if shows.per_site_counts else ''}.")
    if study.evaluation.per_site and shows.per_site_figures:
        lines.append(
            "In the clear, by your policy: this hospital's own figure, with its number of images and findings."
        )
    if shows.per_site_counts:
        lines.append("In the clear, by your policy: how many images this hospital has, and how many are left out.")
    return tuple(lines)


def _update(study: Study, cohort: int) -> str:
    if study.aggregation.adversary == "none":
        return (
            f"In the clear, each round: this hospital's own {_vector(study)}; the coordinator reads it ({_why(study)})."
        )
    return f"Each round a masked {_vector(study)}, readable only as a sum over {cohort} hospitals or more."


def _why(study: Study) -> str:
    return f"{study.federation.strategy} compares single updates"


def _stays(study: Study) -> tuple[str, ...]:
    """What never leaves, and what is kept here between rounds."""
    lines = ["Images, patient identities and labels."]
    if study.aggregation.adversary != "none":
        lines.append("This hospital's own update: alone, what is sent of it is uniform noise.")
    if study.federation.personal:
        lines.append("This hospital's own model, or the parts of it that the study leaves to each hospital.")
    return tuple(lines)


def _vector(study: Study) -> str:
    return {
        "off": "update",
        "local": "update that holds all the noise it needs",
        "distributed": "sum of its patients' gradients with a share of the noise",
    }[study.privacy.mode]


def _privacy(study: Study, policy: Policy, ledger: Ledger) -> tuple[str, ...]:
    epsilon, delta = study.privacy.epsilon, study.privacy.delta
    if epsilon is None or delta is None:
        return (
            "No differential privacy: nothing bounds what the sums and the model tell about one patient.",
            _held_out(study),
        )
    limit, at = policy.privacy.epsilon_total, policy.privacy.delta
    now, after = ledger.epsilon(at), _after(study, policy, ledger, alone=False)
    return (
        f"ε = {epsilon:g} at δ = {delta:g} for each patient over the whole study, mode {study.privacy.mode}: "
        f"{_rests_on(study, epsilon, delta)}.",
        f"Each patient's part in a step is clipped to {study.privacy.clip:g}{_follows(study)}.",
        "That is: because one patient takes part, nothing that is made of the training gets more than "
        f"{_factor(epsilon)} times as likely, but for a chance of {delta:g}.",
        _held_out(study),
        f"The patient who has spent most has ε = {now:.3g} now and would have {after:.3g} after all rounds; "
        f"{max(0.0, round(limit - after, 2)):g} of {limit:g} would be left (at δ = {at:g}).",
    )


def _follows(study: Study) -> str:
    quantile = study.privacy.clip_quantile
    return (
        "" if quantile is None else f" at first; then the clip follows what {quantile:.0%} of the patients stay below"
    )


def _rests_on(study: Study, epsilon: float, delta: float) -> str:
    if study.privacy.mode == "local":
        return "whatever other hospitals do"
    cohort = study.federation.min_sites
    honest = honest_of(study, cohort)
    return (
        f"this takes the noise of {honest} honest hospitals of {cohort} (more, if more take part) and masks that hold; "
        f"with this hospital's noise alone, ε is {_alone(study, honest, epsilon, delta):.3g} instead of {epsilon:g}"
    )


def _alone(study: Study, honest: int, epsilon: float, delta: float) -> float:
    """ε of the whole study if no other hospital added its share; infinite where no usable noise meets its target."""
    try:
        sigma = noise_multiplier(study)
    except InputError:
        return math.inf
    if sigma is None:
        return epsilon
    return rdp_epsilon(alone([repeated(round_event(study, sigma, honest=honest), study.training.rounds)]), delta)


def _held_out(study: Study) -> str:
    evaluation = study.evaluation
    if evaluation.epsilon is None:
        return "Held-out patients are not trained on; their scores enter masked sums without noise."
    return (
        f"Held-out patients are not trained on; all evaluations together tell at most ε = {evaluation.epsilon:g} at "
        f"δ = {evaluation.delta:g} of each, by this hospital's own noise."
    )


def _budget(study: Study, policy: Policy, ledger: Ledger) -> tuple[Finding, ...]:
    if study.privacy.mode == "off" and study.evaluation.epsilon is None:
        return ()
    return tuple(
        Finding(
            rule=f"privacy.{key}",
            demands=f"at most ε = {most:g} per patient {where}",
            brings=f"ε = {after:.3g} after all its rounds",
            holds=after <= most,
            change="This hospital trains as many rounds as fit and then stops.",
        )
        for key, where, most, after in (
            ("epsilon_total", "in all", policy.privacy.epsilon_total, _after(study, policy, ledger, alone=False)),
            ("epsilon_per_study", "in it", policy.privacy.epsilon_per_study, _after(study, policy, ledger, alone=True)),
        )
    )


def _after(study: Study, policy: Policy, ledger: Ledger, *, alone: bool) -> float:
    """ε at the policy's δ of the patient who will have spent most, whichever split of the study that patient is in, if
    all its rounds and evaluations are charged."""
    try:
        planned = _planned(study)
    except InputError:
        return math.inf
    at, key = policy.privacy.delta, study_hash(study) if alone else None
    return max(ledger.epsilon_with(events, at, study_hash=key) for events in planned)


def _planned(study: Study) -> list[list[Event]]:
    """What the study charges to a patient of each split. Raises InputError where no usable noise meets its target."""
    sigma = noise_multiplier(study)
    training: list[Event] = [] if sigma is None else [repeated(round_event(study, sigma), study.training.rounds)]
    scored: list[list[Event]] = [
        [repeated(evaluation_event(study, split), count)]
        for split, count in planned_evaluations(study).items()
        if study.evaluation.epsilon is not None
    ]
    return [training, *scored]


def repeated(event: SampledGaussian, times: int) -> SampledGaussian:
    """`times` such events as one."""
    return replace(event, steps=times * event.steps)


def _factor(epsilon: float) -> str:
    """e^ε in figures that a person reads."""
    return f"{math.exp(epsilon):,.3g}" if epsilon < 6.9 else f"e^{epsilon:g}"
