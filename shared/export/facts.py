"""What an exported model says of itself: what it takes, what it gives, whose it is. JSON that only ever grows."""

from typing import Literal

import msgspec

from shared.links import LINKS, WORDS
from shared.published import Model
from shared.study.tensor import Input
from shared.tasks.registry import kind_of
from shared.version import versions
from shared.wire import Record


class Facts(Record, frozen=True):
    """`shape` of one image as the network takes it, without the batch; values float32 between `least` and `most`,
    scaled inside the network. `input`: how Konsil makes such a tensor of DICOM objects (docs/dicom.md). `output`: what
    the numbers are, in words; `labels` in their order."""

    version: Literal[1]
    study: str
    study_hash: str
    run: str
    round: str
    #: SHA-256 of model.safetensors, in hex
    weights: str
    task: str
    labels: tuple[str, ...]
    shape: tuple[int, ...]
    input: Input
    output: str
    versions: dict[str, str]
    least: float = 0.0
    most: float = 1.0
    use: str = "For research. No medical device: no diagnosis or treatment may rest on it."


def facts_of(model: Model) -> str:
    """The JSON that every format carries."""
    study, kind = model.study, kind_of(model.study)
    link = LINKS.get(study.task.kind)
    facts = Facts(
        version=1,
        study=study.name,
        study_hash=model.hash,
        run=model.run,
        round=model.round,
        weights=model.sha256,
        task=study.task.kind,
        labels=study.task.labels,
        shape=(kind.channels, *study.input.size),
        input=study.input,
        output=WORDS[link] if link else f"what Konsil's {study.task.kind} makes figures of (shared/tasks)",
        versions=versions(),
    )
    return msgspec.json.encode(facts).decode()
