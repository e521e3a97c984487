"""External validation: finished models on an archive that did not train them.

Guarantees: every usable image is judged, none is split off; thresholds are those of the validation patients of the
hospitals that trained, never chosen here; what the same counts would say in a federation is what is said here
(`Kind.count`, `Kind.judge`); figures of fewer patients than `smallest` are kept back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from msgspec.structs import replace

from client.dicom.archive import Progress
from client.evaluation import look
from client.images import Split
from client.inference.archive import opened
from client.inference.ensemble import Ensemble, check_distinct, link_of
from client.inference.record import Evaluated, Judge, Member
from shared.errors import InputError, OperatorError, PeerError
from shared.judged import Judged
from shared.network import network_of
from shared.parameters import load_vector
from shared.published import Model
from shared.study import Evaluation, Study
from shared.subgroups import subgroups
from shared.tasks.registry import kind_of
from shared.version import versions


@dataclass(frozen=True)
class Asked:
    """On what, and how: `labels` None where the kind of task needs to know nothing of an image; `subgroups` as
    [evaluation] of a study has them; `views` 0 as the study says."""

    archive: Path
    labels: Path | None
    subgroups: tuple[str, ...] = ()
    manufacturers: tuple[str, ...] = ()
    views: int = 0
    smallest: int = 5
    device: str = "cpu"


def evaluate(models: Sequence[Model], asked: Asked, progress: Progress | None = None) -> Evaluated:
    """What `models`, together where there are several, are worth on the images of `asked`. Raises InputError for models
    that do not go together, for subgroups or views that cannot be, for labels that are needed and not named, and for an
    archive without usable images."""
    check_distinct(models)
    _check_device(asked.device)
    study = _study(models[0].study, asked)
    _check_labels(study, asked.labels)
    network = _network(models).to(torch.device(asked.device))
    judge, basis = _judge(models, study)
    with opened(asked.archive, asked.labels, study, device=asked.device, progress=progress) as prepared:
        looked = look(study, network, prepared.images, Split.TEST)
        counts = looked.counts(asked.smallest)
    names = subgroups(study.evaluation)
    hidden = tuple(name for name, kept in zip(names, counts.hidden, strict=True) if kept)
    groups = {name: judge(own) for name, own in zip(names, counts.groups, strict=True) if name not in hidden}
    return Evaluated(
        models=tuple(_member(model) for model in models),
        study=study,
        judge=basis,
        images=len(prepared.images.target),
        patients=len(np.unique(prepared.images.patient)),
        files=prepared.counts.files,
        skipped={reason.value: number for reason, number in prepared.counts.skipped.items() if number},
        judged=judge(counts.everybody),
        groups={name: judged for name, judged in groups.items() if judged.images},
        hidden=hidden,
        smallest=asked.smallest,
        versions=versions(),
    )


def _check_device(device: str) -> None:
    known = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    if device not in known:
        raise InputError("--device", expected=" or ".join(known), got=device, do="Name one that this machine has.")


def _check_labels(study: Study, labels: Path | None) -> None:
    if labels is None and (target := kind_of(study).target) != "none":
        expected = f"what is known of the images ({target}): {study.task.kind} is judged against it"
        do = "Name the CSV, or the folder of structured reports, with --labels."
        raise InputError("--labels", expected=expected, got="none", do=do)


def _study(study: Study, asked: Asked) -> Study:
    """The model's study with the evaluation that is asked for here: exact, since nothing leaves."""
    try:
        evaluation = Evaluation(
            subgroups=asked.subgroups,  # type: ignore[arg-type]  # checked below, with all that the file would be
            manufacturers=asked.manufacturers,
            views=asked.views or study.evaluation.views,  # type: ignore[arg-type]  # likewise
            sensitivity=study.evaluation.sensitivity,
        )
        return _checked(replace(study, evaluation=evaluation))
    except (ValueError, TypeError) as error:
        do = "Name sex, age, manufacturer (with --manufacturers); views of 1, 2 or, for images, 8."
        raise InputError("evaluation", expected="what a study may ask for", got=str(error), do=do) from None


def _checked(study: Study) -> Study:
    """`study` as its file would be read."""
    return msgspec.convert(msgspec.to_builtins(study), Study)


def _network(models: Sequence[Model]) -> torch.nn.Module:
    networks = []
    for model in models:
        network = network_of(model.study)
        load_vector(network, model.weights)
        networks.append(network.eval())
    return networks[0] if len(networks) == 1 else Ensemble(networks, link_of([model.study for model in models])).eval()


def _judge(models: Sequence[Model], study: Study) -> tuple[Callable[[Sequence[int]], Judged], Judge]:
    """How counts become figures, and on what thresholds rest."""
    kind, validation = kind_of(study), models[0].validation
    if len(models) > 1:
        return kind.judge, "none: several models together have no threshold that was chosen in training"
    if not validation:
        return kind.judge, "none: the model does not say how it did on its validation patients"
    what, expected = f"{models[0].place}: validation counts", f"{kind.counts} of {study.task.kind}"
    if len(validation) != kind.counts:
        raise PeerError(what, expected=expected, got=str(len(validation)), do="Evaluate it with the Konsil it is from.")
    try:
        kind.judge(validation, validation)
    except OperatorError as error:
        raise PeerError(what, expected=expected, got=str(error)) from None
    return lambda values: kind.judge(values, validation), "chosen on the validation patients of the training"


def _member(model: Model) -> Member:
    genuine = model.manifest is not None
    return Member(
        study=model.study.name, study_hash=model.hash, run=model.run, round=model.round, sha256=model.sha256,
        genuine=genuine,
    )  # fmt: skip
