"""The study file: what the consortium asks, hashed, signed, and shown to hospitals before they agree.

Guarantees: a `Study` is complete and consistent, frozen, and two equal studies have equal hashes whatever
their comments and key order. Unknown keys are refused by name. No word in it steers a terminal or
holds a line end. Sizes are rows × columns in pixels, times in seconds, distances in mm.

    >>> study = parse_study(MINIMAL)
    >>> study.training.rounds
    2
"""

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, field

from shared.text import is_plain
from shared.toml import parse_toml, read_toml
from shared.wire import Record, digest

__all__ = ["MINIMAL", "Study", "parse_study", "read_study", "spec_hash", "study_hash"]

CANONICAL = "canonical/v1"
STUDY_LABEL = "konsil/study/v1"
SPEC_LABEL = "konsil/canonical/v1"

Name = Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9-]{0,62}\Z")]
Label = Annotated[str, Meta(min_length=1, max_length=64)]
#: DICOM code string, as in Modality (PS3.5 §6.2)
Modality = Annotated[str, Meta(pattern=r"\A[A-Z0-9]{1,16}\Z")]
#: of a model and of its options
Word = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._-]{1,64}\Z")]
OptionText = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._-]{0,64}\Z")]
Positive = Annotated[float, Meta(gt=0, lt=1e9)]
NotNegative = Annotated[float, Meta(ge=0, lt=1e9)]
Count = Annotated[int, Meta(ge=1)]
Fraction = Annotated[float, Meta(gt=0, lt=1)]
Side = Annotated[int, Meta(ge=8, le=4096)]
Augmentation = Literal["flip", "rotate", "shift", "scale", "noise", "contrast", "quarter"]


class Task(Record, frozen=True):
    """What is learned. `labels` as they stand in the label files; the last one is the finding looked for."""

    labels: tuple[Label, Label]
    kind: Literal["classification"] = "classification"

    def __post_init__(self) -> None:
        if self.labels[0] == self.labels[1]:
            raise ValueError("two different labels")
        if not all(map(is_plain, self.labels)):
            raise ValueError("labels without control, format and direction characters")


class Input(Record, frozen=True):
    """The canonical tensor asked for (DICOM.md §8): channels × rows × columns, for volumes channels × slices × rows ×
    columns; float32 in [0, 1].

    `size` is (rows, columns), for volumes (slices, rows, columns). `spacing`, in mm and in the order of `size`, fixes
    how large a pixel is: the image is cropped or padded around its centre; without it the whole is fitted into `size`.
    """

    modalities: tuple[Modality, ...]
    size: Annotated[tuple[Side, ...], Meta(min_length=2, max_length=3)]
    #: what becomes one tensor: a frame; a frame between its neighbours as channels (2.5D); a whole volume
    kind: Literal["image", "stack", "volume"] = "image"
    color: bool = False
    #: "file": the image's own VOI window; "percentile": 1st to 99th; or a fixed (centre, width)
    window: Literal["file", "percentile"] | tuple[float, float] = "file"
    spacing: Annotated[tuple[Positive, ...], Meta(min_length=2, max_length=3)] | None = None
    #: slices taken on either side, for kind = "stack"
    neighbours: Annotated[int, Meta(ge=0, le=16)] = 0
    #: of objects with several frames: each is an image, or the middle one, or the object is left out
    frames: Literal["each", "middle", "none"] = "each"
    #: images meant to be looked at, or raw detector data (0008,0068); one that does not say is taken for the former
    intent: Literal["presentation", "processing"] = "presentation"

    def __post_init__(self) -> None:
        if isinstance(self.window, tuple) and not (abs(self.window[0]) < 1e9 and 0 < self.window[1] < 1e9):
            raise ValueError("window as [centre, width], the width above 0")
        sides = 3 if self.kind == "volume" else 2
        if len(self.size) != sides or len(self.spacing or self.size) != sides:
            raise ValueError(f'size and spacing of {sides} numbers with kind = "{self.kind}"')
        if self.color and self.kind != "image":
            raise ValueError('color only with kind = "image"')
        if (self.neighbours > 0) != (self.kind == "stack"):
            raise ValueError('neighbours above 0 with kind = "stack", and only there')

    @property
    def channels(self) -> int:
        """Channels of the tensor."""
        return 3 if self.color else 2 * self.neighbours + 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one tensor: (channels, rows, columns) or (channels, slices, rows, columns)."""
        return (self.channels, *self.size)


class Model(Record, frozen=True):
    """A name of the closed registry (shared/models) and its options."""

    name: Word
    options: dict[Word, int | float | OptionText] = field(default_factory=dict)
    #: (x − first) / second before the first layer; a survey's mean and standard deviation, or these
    scale: tuple[Annotated[float, Meta(ge=-10, le=10)], Annotated[float, Meta(ge=1e-3, le=10)]] = (0.5, 0.25)
    #: safetensors file beside the study that the run begins with, made from public or synthetic images, and its SHA-256
    init: Annotated[str, Meta(pattern=r"\A([A-Za-z0-9][A-Za-z0-9._-]{0,127})?\Z")] = ""
    init_sha256: Annotated[str, Meta(pattern=r"\A([0-9a-f]{64})?\Z")] = ""
    #: weights whose names begin so stay as they are; nothing of them is sent up
    frozen: tuple[Word, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.init) != bool(self.init_sha256):
            raise ValueError("init and init_sha256 together")


class Training(Record, frozen=True):
    """What a hospital does in one round. `batch` counts patients: drawn per step without privacy, the public
    divisor of the noisy sum with it (PRIVACY.md, one private step, 5)."""

    rounds: Count
    batch: Count
    learning_rate: Positive
    local_steps: Count | None = None
    local_epochs: Count | None = None
    optimizer: Literal["sgd", "adam"] = "sgd"
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    weight_decay: NotNegative = 0.0
    #: learning rate over the rounds: constant, or down to a tenth along a cosine, or to nothing along a line
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    #: rounds over which the rate first grows from nothing
    warmup: Annotated[int, Meta(ge=0)] = 0
    augmentation: tuple[Augmentation, ...] = ()
    #: augmented copies of each drawn image, averaged before clipping
    copies: Count = 1
    #: images of one patient that one step looks at, chosen anew each time
    images_per_patient: Annotated[int, Meta(ge=1, le=64)] = 2
    #: "equal", "balanced" (from the masked survey; never with privacy), or one public weight per label
    class_weights: Literal["equal", "balanced"] | tuple[Positive, Positive] = "equal"
    #: arithmetic of the forward and backward pass; "bfloat16" is about twice as fast where the processor has it. With
    #: privacy gradients are clipped and summed in float64 all the same
    precision: Literal["float32", "bfloat16"] = "float32"
    #: rounds without a better validation figure before the run stops; 0 never stops early
    early_stopping: Annotated[int, Meta(ge=0)] = 0
    seed: Annotated[int, Meta(ge=0, lt=2**31)] = 0

    def __post_init__(self) -> None:
        if (self.local_steps is None) == (self.local_epochs is None):
            raise ValueError("exactly one of local_steps and local_epochs")


class Federation(Record, frozen=True):
    """How hospitals work together. Weights are images as a share of `max_images`; a larger site refuses."""

    min_sites: Annotated[int, Meta(ge=2, le=200)]
    strategy: Literal["fedavg"] = "fedavg"
    timeout_s: Positive = 600.0
    max_images: Count = 100_000
    #: exponential average over rounds of the models handed out as the result; 0 keeps the last one
    averaging: Annotated[float, Meta(ge=0, lt=1)] = 0.0


class Privacy(Record, frozen=True):
    """What is promised per patient (PRIVACY.md). `sampling_rate`: Poisson rate of patients per step.

    "local": every hospital adds all the noise itself and makes `training.local_steps` in a round. "distributed": every
    round is one optimiser step of the coordinator on one masked sum, in which the honest hospitals' shares of the noise
    add up to all of it.
    """

    mode: Literal["off", "local", "distributed"]
    unit: Literal["patient"] = "patient"
    epsilon: Positive | None = None
    delta: Fraction | None = None
    clip: Annotated[float, Meta(ge=1e-6, le=1e6)] | None = None
    sampling_rate: Annotated[float, Meta(gt=0, le=1)] | None = None
    #: the clip, which `clip` begins, follows the norm that this share of the patients stays below (mode "distributed")
    clip_quantile: Fraction | None = None

    def __post_init__(self) -> None:
        given = (self.epsilon, self.delta, self.clip, self.sampling_rate)
        if self.mode == "off" and any(value is not None for value in (*given, self.clip_quantile)):
            raise ValueError('no epsilon, delta, clip, sampling_rate or clip_quantile while mode = "off"')
        if self.mode != "off" and any(value is None for value in given):
            raise ValueError(f'epsilon, delta, clip and sampling_rate with mode = "{self.mode}"')
        if self.clip_quantile is not None and self.mode != "distributed":
            raise ValueError('clip_quantile only with mode = "distributed"')


class Aggregation(Record, frozen=True):
    """Secure aggregation (PROTOCOL.md). `threshold` of the cohort must answer to unmask a sum, and always so many that
    it stays masked though `colluders` of the hospitals work with the coordinator.

    `update_norm` is the largest L2 norm of one hospital's update: longer ones are scaled down to it. `bits` of each
    parameter travel; below 32 the update is rotated first and coarser (docs/benchmarks.md says what that costs).
    """

    #: "active": masks hold against a coordinator that lies; "semi-honest": one trip less, against one that does not
    adversary: Literal["active", "semi-honest"] = "active"
    threshold: Annotated[float, Meta(gt=0.5, le=1)] = 0.6
    colluders: Annotated[int, Meta(ge=0, lt=200)] = 1
    update_norm: Positive = 10.0
    bits: Literal[32, 16, 15, 14, 13, 12, 11, 10] = 32


class Evaluation(Record, frozen=True):
    """Patients held out of training, and how the final figures are formed."""

    test: Annotated[float, Meta(gt=0, lt=0.9)] = 0.25
    validation: Annotated[float, Meta(gt=0, lt=0.9)] = 0.15
    every: Count = 1
    #: versions of an image whose scores are averaged: itself; and its mirror image; and all symmetries of its frame
    views: Literal[1, 2, 8] = 1
    #: sensitivity aimed at on the validation patients; the test patients are judged at that threshold
    sensitivity: Fraction = 0.9
    #: ask hospitals for their own figures; each shows them only if its policy says so
    per_site: bool = False
    #: the most that all evaluations of the run together may tell of one held-out patient, at `delta`: every hospital
    #: then adds noise to its counts. Without, the masked sums are exact
    epsilon: Positive | None = None
    delta: Fraction | None = None
    #: images of one patient that a noisy evaluation counts
    images_per_patient: Annotated[int, Meta(ge=1, le=64)] = 2

    def __post_init__(self) -> None:
        if self.test + self.validation >= 1:
            raise ValueError("test + validation below 1")
        if (self.epsilon is None) != (self.delta is None):
            raise ValueError("epsilon and delta together")


class Study(Record, frozen=True):
    """One study, whole."""

    name: Name
    task: Task
    input: Input
    model: Model
    training: Training
    federation: Federation
    privacy: Privacy
    aggregation: Aggregation = Aggregation()
    evaluation: Evaluation = Evaluation()

    def __post_init__(self) -> None:
        if self.aggregation.colluders >= self.federation.min_sites:
            raise ValueError("aggregation.colluders below federation.min_sites: somebody must be honest")
        if self.input.kind == "volume":
            if not set(self.training.augmentation) <= {"flip", "contrast", "noise"}:
                raise ValueError('training.augmentation of flip, contrast and noise with input.kind = "volume"')
            if self.evaluation.views > 2:
                raise ValueError('evaluation.views of 1 or 2 with input.kind = "volume"')
        if self.privacy.mode == "off":
            return
        if self.training.local_steps is None:
            raise ValueError("training.local_steps with privacy: an epoch's length would tell the patient count")
        if self.training.class_weights == "balanced":
            raise ValueError('training.class_weights "equal" or public numbers with privacy: counts are private')
        if self.privacy.mode == "distributed":
            if self.training.local_steps != 1:
                raise ValueError('training.local_steps = 1 with privacy.mode = "distributed": a round is one step')
            if self.aggregation.bits != 32:
                raise ValueError(
                    'aggregation.bits = 32 with privacy.mode = "distributed": a sum and its noise need them'
                )


def parse_study(text: str, source: str = "study.toml") -> Study:
    """A study from TOML text. Raises InputError naming the key."""
    return parse_toml(Study, text, source)


def read_study(path: Path) -> Study:
    """A study from a file. Raises InputError naming the file and key."""
    return read_toml(Study, path)


def study_hash(study: Study) -> bytes:
    """32 bytes that change whenever any value of the study changes, or what its images become (DICOM.md §8): a hospital
    whose Konsil makes other tensors of the same files joins another study, and is refused."""
    return digest(STUDY_LABEL, study, spec_hash(study.input))


def spec_hash(spec: Input) -> bytes:
    """32 bytes naming the canonical tensor: the version of the rules and every parameter of `spec`."""
    return digest(SPEC_LABEL + "/" + CANONICAL, spec)


#: The shortest study that says everything it must.
MINIMAL = """
name = "minimal"
[task]
labels = ["clear", "nodule"]
[input]
modalities = ["DX"]
size = [32, 32]
[model]
name = "cnn"
[training]
rounds = 2
batch = 8
local_steps = 2
learning_rate = 0.1
[federation]
min_sites = 2
[privacy]
mode = "off"
"""
