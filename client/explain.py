"""A study in plain words, for the people of the hospital who decide: what it does, what leaves, what it costs.

Everything here is derived from the study that was signed, this hospital's own policy and its own ledger; nothing is
taken from the coordinator's description. Nothing of the study is run: no model is built, no image is read.
"""

from dataclasses import dataclass

from client.approvals import Asked
from client.ledger import Ledger
from client.policy import Policy
from client.price import budget_of, privacy_of
from client.rules import Finding, findings
from shared.study import Evaluation, Study


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
        privacy=privacy_of(study, policy, ledger),
        rules=(*findings(policy, study), *budget_of(study, policy, ledger)),
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
        _held_back(study.evaluation),
        f"Works with at least {study.federation.min_sites} of {', '.join(asked.sites) or 'the members'}{peers}.",
    )


def _held_back(evaluation: Evaluation) -> str:
    """Who is not trained on; with folds as client/dicom/splits.py parts them."""
    folds, validation = evaluation.folds, evaluation.validation
    if folds:
        test, validation = (
            f"{1 / folds:.0%} of patients (part {evaluation.fold + 1} of {folds})",
            validation * (1 - 1 / folds),
        )
    else:
        test = f"{evaluation.test:.0%} of patients"
    return f"Holds {test} out for the test, {validation:.0%} to choose."


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
        f"does on held-out patients{_by(study)}{', with noise' if study.evaluation.epsilon is not None else ''}.",
        "Masked counts of training images by label and by brightness; those that rest on fewer than "
        f"{shows.smallest_count} patients of this hospital leave as 0.",
        "In the clear: how long each step took" + ("." if shows.per_site_counts else ", on a coarse scale."),
    ]
    if study.model.options.get("standardise"):
        lines.append(
            "Masked too, exact: the mean of each statistic of this hospital's training images, and its spread."
        )
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


def _by(study: Study) -> str:
    groups = study.evaluation.subgroups
    return f", also by their {', '.join(groups)} where enough of them share it" if groups else ""


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
    if study.federation.personal == ("all",):
        lines.append("This hospital's own model, beside the common one.")
    elif study.federation.personal:
        parts = ", ".join(study.federation.personal)
        lines.append(
            f"This hospital's own weights of {parts}, but for their part in the masked sum: their mean is public."
        )
    return tuple(lines)


def _vector(study: Study) -> str:
    return {
        "off": "update",
        "local": "update that holds all the noise it needs",
        "distributed": "sum of its patients' gradients with a share of the noise",
    }[study.privacy.mode]
