"""What an exported model says of itself: what it takes, what it gives, whose it is. JSON that only ever grows."""

from typing import Literal

import msgspec

from shared.meaning import Link, Value, Window
from shared.published import Model
from shared.study import Study
from shared.study.tensor import Input
from shared.tasks.registry import kind_of
from shared.version import versions
from shared.wire import Record


class Facts(Record, frozen=True):
    """`shape` of one image as the network takes it, without the batch; values float32 between `least` and `most`,
    scaled inside the network. `input`: how Konsil makes such a tensor of DICOM objects (docs/dicom.md). `output`: what
    the numbers are, in words; `labels` in their order; `link`, `channels`, `value` and `window` as shared/meaning.py
    has them: where there is a window, `shape` is its. `views`: the figures of the study are of so many versions of each
    image, averaged (shared/study/evaluation.py)."""

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
    link: Link | None = None
    channels: tuple[str, ...] = ()
    value: Value | None = None
    window: Window | None = None
    views: int = 1


def facts_of(model: Model) -> str:
    """The JSON that every format carries."""
    study, meaning = model.study, kind_of(model.study).meaning
    facts = Facts(
        version=1,
        study=study.name,
        study_hash=model.hash,
        run=model.run,
        round=model.round,
        weights=model.sha256,
        task=study.task.kind,
        labels=study.task.labels,
        shape=given_shape(study),
        input=study.input,
        output=meaning.words,
        versions=versions(),
        link=meaning.link,
        channels=meaning.channels,
        value=meaning.value,
        window=meaning.window,
        views=study.evaluation.views,
    )
    return msgspec.json.encode(facts).decode()


def given_shape(study: Study) -> tuple[int, ...]:
    """Of what the network is given in evaluation, without the batch: a whole image, or one window of it."""
    kind = kind_of(study)
    return (kind.channels, *(kind.meaning.window.size if kind.meaning.window else study.input.size))
