"""Images in, measured: header scan against pydicom, and cached batches against a bare memory map.

    .venv/bin/python benchmarks/images.py

Everything is made in a temporary folder. CPU seconds of this process, so other work on the machine
matters little; the ratios within one run are what to compare between machines.
"""

import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage

from client.dicom.archive import prepare
from client.dicom.scanning.catalog import Catalog
from client.dicom.scanning.header import read_header
from client.dicom.scanning.scan import scan
from client.dicom.writing import derived_uid, write_object
from client.images import Images, Split
from shared.study import Input

FILES = 1200
IMAGES = 192
SIDE = 512
BATCH = 16
KEY = b"benchmark".ljust(32, b"\0")

#: The values an index needs, read with pydicom the plain way.
KEYWORDS = (
    "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "SOPClassUID", "PatientID", "IssuerOfPatientID",
    "AccessionNumber", "Modality", "Manufacturer", "ImageType", "PatientSex", "PatientAge", "SeriesNumber", "Rows",
    "Columns", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "BitsAllocated", "BitsStored",
    "BurnedInAnnotation",
)  # fmt: skip


def slice_of_ct(number: int) -> Dataset:
    """A 512 × 512 CT-like slice of 12 bits in 16 with about 260 elements, nested sequences included."""
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = derived_uid("bench", "image", str(number))
    dataset.SeriesInstanceUID = derived_uid("bench", "series", str(number // 100))
    dataset.StudyInstanceUID = derived_uid("bench", "study", str(number // 100))
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Modality, dataset.Manufacturer = "CT", "Benchmark"
    dataset.PatientID, dataset.PatientSex, dataset.PatientAge = f"B{number // 4}", "F", "055Y"
    dataset.AccessionNumber, dataset.SeriesNumber, dataset.InstanceNumber = str(number // 100), 1, number
    dataset.PixelSpacing, dataset.ImagePositionPatient = [0.7, 0.7], [0, 0, number]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows = dataset.Columns = SIDE
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.WindowCenter, dataset.WindowWidth = 2048, 4096
    for block in range(2):
        group = 0x0019 + 2 * block
        dataset.add_new(group << 16 | 0x0010, "LO", "KONSIL BENCH")
        for element in range(105):
            dataset.add_new(
                group << 16 | 0x1000 + element,
                ("DS", "LO", "FD", "IS")[element % 4],
                ("1.5", "text", 1.5, 7)[element % 4],
            )
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "T-D3000", "SRT", "Chest"
    dataset.ProcedureCodeSequence = Sequence([item, item])
    return dataset


def cpu(work: Callable[[], object]) -> float:
    """CPU seconds of this process and its finished children."""

    def spent() -> float:
        used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(each.ru_utime + each.ru_stime for each in used)

    start = spent()
    work()
    return spent() - start


def write_archive(folder: Path, images: int) -> None:
    """FILES slices; the first `images` have real pixels, the others share one frame by being sparse on disk."""
    rng = np.random.default_rng(1)
    rows = ["sop_instance_uid,label"]
    folder.mkdir()
    for number in range(FILES):
        dataset = slice_of_ct(number)
        if number < images:
            dataset.PixelData = rng.integers(0, 4096, (SIDE, SIDE)).astype("<u2").tobytes()
            rows.append(f"{dataset.SOPInstanceUID},{('clear', 'nodule')[number % 2]}")
        else:
            dataset.PixelData = b"\0" * 2
        dataset["PixelData"].VR = "OW"
        path = folder / f"{number:05d}.dcm"
        write_object(path, dataset)
        if number >= images:  # a hole of the right size: the length before the two bytes, then the end of the file
            with path.open("r+b") as file:
                end = file.seek(0, os.SEEK_END) - 2
                file.seek(end - 4)
                file.write((2 * SIDE * SIDE).to_bytes(4, "little"))
                file.truncate(end + 2 * SIDE * SIDE)
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")


def headers(folder: Path, home: Path) -> None:
    """Header scan: ours with the catalog, ours alone, pydicom's."""
    paths = sorted(folder.glob("*.dcm"))
    for path in paths:
        path.read_bytes()[:1]  # warm: the disk is not what is measured

    def ask_pydicom() -> None:
        for path in paths:
            dataset = dcmread(path, stop_before_pixels=True)
            for keyword in KEYWORDS:
                dataset.get(keyword)

    def scan_all() -> None:
        with Catalog.of(folder, home) as catalog:
            scan(folder, catalog, key=KEY)

    elements = len(list(dcmread(paths[0]).iterall()))
    plain = cpu(ask_pydicom)
    print(f"\nheader scan, {len(paths)} files of {elements} elements{'':<14}files per CPU-second   times pydicom")
    for name, seconds in (
        (f"pydicom, {len(KEYWORDS)} values", plain),
        ("konsil, header alone", cpu(lambda: [read_header(path) for path in paths])),
        ("konsil, whole scan with catalog", cpu(scan_all)),
        ("konsil, scan again, nothing new", cpu(scan_all)),
    ):
        print(f"  {name:<54}{len(paths) / seconds:>14,.0f}{plain / seconds:>16.1f}")


def batches(images: Images, home: Path) -> None:
    """Batches of BATCH images in random order, gathered from the map; the limit is numpy's own gather."""
    rng = np.random.default_rng(1)
    rows = np.concatenate([images.rows(split) for split in Split])
    orders = [rng.permutation(rows) for _ in range(4)]
    (path,) = home.rglob("*.f32")
    bare = np.memmap(path, dtype=np.float32, mode="r", shape=images.pixels.shape)

    def epochs(pixels: NDArray[np.float32]) -> None:
        for order in orders:
            for first in range(0, len(order), BATCH):
                pixels[order[first : first + BATCH]]

    for pixels in (bare, images.pixels):
        epochs(pixels)  # warm
    count = 4 * len(rows)
    limit = min(wall(lambda: epochs(bare)) for _ in range(3))
    ours = min(wall(lambda: epochs(images.pixels)) for _ in range(3))
    print(f"\ncached batches, {SIDE} × {SIDE} float32, {BATCH} at a time{'':<12}images per second   share of limit")
    print(f"  {'bare memory map (limit)':<54}{count / limit:>14,.0f}{1:>16.2f}")
    print(f"  {'konsil cache':<54}{count / ours:>14,.0f}{limit / ours:>16.2f}")


def wall(work: Callable[[], object]) -> float:
    """Wall seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Print the two tables."""
    with tempfile.TemporaryDirectory() as name:
        folder, home = Path(name) / "archive", Path(name) / "home"
        write_archive(folder, IMAGES)
        headers(folder, home)
        spec = Input(modalities=("CT",), size=(SIDE, SIDE))
        start = time.perf_counter()
        images, counts = prepare(
            folder,
            folder / "labels.csv",
            home,
            key=KEY,
            spec=spec,
            labels=("clear", "nodule"),
            test=0.25,
            validation=0.15,
        )
        seconds = time.perf_counter() - start
        batches(images, home)
        print(f"\nfilling the cache: {counts.usable / seconds:,.0f} images per second of two processes, start included")


if __name__ == "__main__":
    main()
