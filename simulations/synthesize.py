"""New images from the model of a finished run, written as pictures or as a DICOM archive that any study can use.

Guarantees: every DICOM object says that it is derived and synthetic; the same model, seed and number give the same
image, whatever is drawn beside it; the output appears whole or not at all. What the images tell of the patients is
bounded by the run's own privacy, and by nothing else: the column `privacy` of the table beside them (of "npz": an
array) says by how much, and without privacy every object says so too, and whoever draws is warned.
"""

import csv
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from client.dicom.dicomize import dicomize
from client.dicom.writing import whole_folder
from shared.errors import InputError
from shared.files import write_atomically
from shared.models.synthesis import drawn
from shared.network import network_of
from shared.parameters import load_vector
from shared.published import Model, read_model
from shared.study import Study

Form = Literal["dicom", "png", "npz"]

#: Images drawn at once.
BATCH = 64
#: In (0008,103E) of every object: of a model that was trained with privacy, and without; 64 characters at most.
DESCRIPTION = "SYNTHETIC image drawn by a Konsil model; shows no patient"
UNBOUNDED = "SYNTHETIC, model trained without privacy: may resemble a patient"
#: What whoever draws from a model without privacy is told.
WARNING = (
    "this model was trained without differential privacy: nothing bounds what its images tell of a patient, and some"
    " may resemble one who was trained on. Treat them as you treat the patients' own."
)
#: The label of images of a study without labels.
UNLABELLED = "synthetic"


def synthesize(
    run: Path,
    out: Path,
    *,
    count: int,
    seed: int = 0,
    form: Form = "dicom",
    progress: Callable[[int, int], None] | None = None,
    warn: Callable[[str], None] | None = None,
) -> int:
    """Draw `count` images from the model in the folder `run`, its labels in turn, into the new folder `out` (of "npz":
    the file); before that, `warn` is told of a model without privacy. Returns how many. Raises InputError for a model
    that draws none, and if `out` is there already."""
    model = read_model(run)
    if model.study.task.kind != "synthesis":
        expected = 'a model of task.kind "synthesis"'
        raise InputError(str(run), expected=expected, got=model.study.task.kind, do="Name the run of such a study.")
    if out.exists():
        raise InputError(str(out), expected="a new name", got="one that is there", do="Choose another.")
    if warn and model.study.privacy.mode == "off":
        warn(WARNING)
    images = np.concatenate([*_batches(model, count, seed, progress)])
    names = model.study.task.labels or (UNLABELLED,)
    _write(images, [names[number % len(names)] for number in range(count)], out, form, model.study)
    return count


def promise_of(study: Study) -> str:
    """What the images tell of a patient at most, in the words that stand beside them."""
    privacy = study.privacy
    if privacy.mode == "off":
        return "none: may resemble a patient"
    before = ", the weights it began with not counted" if study.model.init else ""
    return f"epsilon {privacy.epsilon:g}, delta {privacy.delta:g} per patient{before}"


def _batches(
    model: Model, count: int, seed: int, progress: Callable[[int, int], None] | None
) -> list[NDArray[np.uint8]]:
    """Of images uint8 [n, H, W], of colour ones [n, H, W, 3]."""
    module, study = network_of(model.study), model.study
    load_vector(module, model.weights)
    number, made = len(study.task.labels), []
    for first in range(0, count, BATCH):
        places = torch.arange(first, min(first + BATCH, count))
        labels = torch.eye(number)[places % number] if number else torch.zeros(len(places), 0)
        found = drawn(module, labels, study.input.shape, seed, first).mul(255).round().to(torch.uint8).numpy()
        made.append(np.moveaxis(found, 1, -1) if study.input.color else found[:, 0])
        if progress:
            progress(first + len(places), count)
    return made


def _write(images: NDArray[np.uint8], labels: list[str], out: Path, form: Form, study: Study) -> None:
    promise = promise_of(study)
    if form == "png":
        with whole_folder(out) as draft:
            names = [f"{number:06d}.png" for number in range(len(images))]
            for name, image in zip(names, images, strict=True):
                Image.fromarray(image).save(draft / name)
            _write_table(draft / "labels.csv", names, labels, promise)
        return
    with tempfile.TemporaryDirectory(prefix="konsil-synthesize.") as folder:
        arrays, table = Path(folder) / "drawn.npz", Path(folder) / "labels.csv"
        np.savez_compressed(arrays, images=images, labels=np.array(labels), privacy=np.array(promise))
        if form == "npz":
            write_atomically(out, arrays.read_bytes())
        else:
            _write_table(table, map(str, range(len(images))), labels, promise)
            dicomize(arrays, table, out, description=UNBOUNDED if study.privacy.mode == "off" else DESCRIPTION)


def _write_table(path: Path, images: Iterable[str], labels: Sequence[str], promise: str) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("image", "label", "privacy"))
        table.writerows((image, label, promise) for image, label in zip(images, labels, strict=True))
