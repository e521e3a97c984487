"""Archives of small series, and what a study makes of them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from client.dicom.archive import Counts, prepare
from client.dicom.writing import derived_uid, write_object
from client.images import Images
from shared.study import Input

KEY = b"k" * 32


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


def ready(folder: Path, spec: Input, rows: str, **changes: Any) -> tuple[Images, Counts]:
    """`folder`'s images for a study with labels clear and nodule; `rows` are those of the table, header included."""
    table = folder.parent / "labels.csv"
    table.write_text(rows)
    arguments: dict[str, Any] = {"labels": ("clear", "nodule"), "test": 0.2, "validation": 0.2} | changes
    return prepare(folder, table, folder.parent / "home", key=KEY, spec=spec, **arguments)
