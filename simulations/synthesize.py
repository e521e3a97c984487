"""New images from the model of a finished run, written as pictures or as a DICOM archive that any study can use.

Guarantees: every DICOM object says that it is derived and that no patient is shown; the same model, seed and number
give the same image, whatever is drawn beside it; the output appears whole or not at all. What the images tell of the
patients is bounded by the run's own privacy, and by nothing else.
"""

import csv
import tempfile
from collections.abc import Callable
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

Form = Literal["dicom", "png", "npz"]

#: Images drawn at once.
BATCH = 64
#: In (0008,103E) of every object.
DESCRIPTION = "SYNTHETIC image drawn by a Konsil model; shows no patient"
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
) -> int:
    """Draw `count` images from the model in the folder `run`, its labels in turn, into the new folder `out` (of "npz":
    the file). Returns how many. Raises InputError for a model that draws none, and if `out` is there already."""
    model = read_model(run)
    if model.study.task.kind != "synthesis":
        expected = 'a model of task.kind "synthesis"'
        raise InputError(str(run), expected=expected, got=model.study.task.kind, do="Name the run of such a study.")
    if out.exists():
        raise InputError(str(out), expected="a new name", got="one that is there", do="Choose another.")
    images = np.concatenate([*_batches(model, count, seed, progress)])
    names = model.study.task.labels or (UNLABELLED,)
    _write(images, [names[number % len(names)] for number in range(count)], out, form)
    return count


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


def _write(images: NDArray[np.uint8], labels: list[str], out: Path, form: Form) -> None:
    if form == "png":
        with whole_folder(out) as draft, (draft / "labels.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(("image", "label"))
            for number, (image, label) in enumerate(zip(images, labels, strict=True)):
                Image.fromarray(image).save(draft / f"{number:06d}.png")
                table.writerow((f"{number:06d}.png", label))
        return
    with tempfile.TemporaryDirectory(prefix="konsil-synthesize.") as folder:
        arrays = Path(folder) / "drawn.npz"
        np.savez_compressed(arrays, images=images, labels=np.array(labels))
        if form == "npz":
            write_atomically(out, arrays.read_bytes())
        else:
            dicomize(arrays, None, out, description=DESCRIPTION)
