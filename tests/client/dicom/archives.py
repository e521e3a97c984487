"""Archives of small series, and what a study makes of them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace
from pydicom.dataset import Dataset

from client.dicom.archive import Counts, prepare
from client.dicom.writing import derived_uid, write_object
from client.images import Images
from shared.study import MINIMAL, Evaluation, Input, Study, parse_study
from shared.tasks.base import Target

KEY = b"k" * 32


def study_of(spec: Input, labels: tuple[str, ...] = ("clear", "nodule"), **evaluation: Any) -> Study:
    """The shortest study of `spec` and `labels`; a fifth of the patients for the test and the validation each."""
    base = parse_study(MINIMAL)
    held = Evaluation(**({"test": 0.2, "validation": 0.2} | evaluation))
    return replace(base, task=replace(base.task, labels=labels), input=spec, evaluation=held)


def keep(folder: Path, datasets: Iterable[Dataset], series: str = "1", **values: object) -> None:
    """Write `datasets` into `folder` as one series of their own; a slice's pixels are its number, 100 times."""
    for number, dataset in enumerate(datasets, start=1):
        dataset.SOPInstanceUID = derived_uid("test", "slice", series, str(number))
        dataset.SeriesInstanceUID = derived_uid("test", "series", series)
        size = dataset.Rows * dataset.Columns * int(dataset.get("NumberOfFrames") or 1)
        if "NumberOfFrames" not in dataset:
            dataset.PixelData = np.full(size, 100 * number, np.uint16).tobytes()
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        folder.mkdir(parents=True, exist_ok=True)
        write_object(folder / f"{series}-{number:03d}.dcm", dataset)


def ready(
    folder: Path,
    spec: Input,
    rows: str,
    *,
    labels: tuple[str, ...] = ("clear", "nodule"),
    target: Target = "class",
    source: Path | None = None,
    **changes: Any,
) -> tuple[Images, Counts]:
    """`folder`'s images for a study with `labels`; `rows` are those of the table, header included."""
    table = folder.parent / "labels.csv"
    if rows:
        table.write_text(rows)
    study = study_of(spec, labels)
    return prepare(folder, source or table, folder.parent / "home", key=KEY, study=study, target=target, **changes)
