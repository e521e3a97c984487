"""The catalog, measured: headers read against pydicom, and an archive of a million files scanned and scanned again.

    .venv/bin/python benchmarks/catalogue.py [--files 1000000] [--folder DIR] [--processes 2]

Two kinds of files. The rate of reading headers is taken on CT slices of 512 × 512 with about 260 elements and a real
length (holes on disk). The large archive has small files, 35 elements and 8 × 8 pixels each, 100 to a series and
folder; each is an object of its own. A million of them take 4 GB of disk and some minutes to make, and are removed
again. Files are made and read on the same machine, so they come from memory: a hospital's disk may be slower than any
of this. Rates are of wall time where that is said, on whatever else the machine does.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from measure import run
from pydicom import dcmread
from pydicom.dataset import Dataset
from slices import KEYWORDS, SIDE, cpu, slice_of_ct

from client.dicom.scanning.catalog import Catalog
from client.dicom.scanning.header import read_header
from client.dicom.scanning.refresh import refresh
from client.dicom.scanning.scan import scan
from client.dicom.writing import write_object

#: CT slices whose headers are read
HEADERS = 1200

KEY = b"benchmark".ljust(32, b"\0")
SLICES = 100
MIB = 1 << 20
#: What stands in the template where a file has its own number: seven digits each.
IMAGE, SERIES, PATIENT, PLACE = "1111111", "2222222", "3333333", "4444.44"


def template() -> bytes:
    """A small CT slice whose numbers can be exchanged byte by byte."""
    dataset = slice_of_ct(0)
    small = Dataset()
    for element in dataset:
        if not element.tag.is_private:
            small[element.tag] = element
    root = "1.2.826.0.1.3680043.8.498."
    small.SOPInstanceUID, small.SeriesInstanceUID, small.StudyInstanceUID = root + IMAGE, root + SERIES, root + SERIES
    small.PatientID, small.StudyDate, small.ImageOrientationPatient = PATIENT, "20240101", [1, 0, 0, 0, 1, 0]
    small.ImagePositionPatient = ["0.0", "0.0", PLACE]
    small.Rows = small.Columns = 8
    small.PixelData = np.zeros((8, 8), dtype="<u2").tobytes()
    small["PixelData"].VR = "OW"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "template.dcm"
        write_object(path, small)
        return path.read_bytes()


def make(archive: Path, files: int) -> None:
    """`files` objects below `archive`, SLICES to a folder."""
    pattern = template()
    for series in range(-(-files // SLICES)):
        folder = archive / f"{series // 100:04d}" / f"{series % 100:02d}"
        folder.mkdir(parents=True)
        own = pattern.replace(SERIES.encode(), b"%07d" % series).replace(PATIENT.encode(), b"%07d" % (series // 3))
        for slice_ in range(min(SLICES, files - series * SLICES)):
            data = own.replace(IMAGE.encode(), b"%07d" % (series * SLICES + slice_))
            (folder / f"{slice_:03d}.dcm").write_bytes(data.replace(PLACE.encode(), b"%07.2f" % (2.5 * slice_)))


def write_slices(folder: Path) -> None:
    """HEADERS slices of their real length, whose pixels are a hole on disk."""
    folder.mkdir()
    for number in range(HEADERS):
        dataset = slice_of_ct(number)
        dataset.PixelData = b"\0" * 2
        dataset["PixelData"].VR = "OW"
        path = folder / f"{number:05d}.dcm"
        write_object(path, dataset)
        with path.open("r+b") as file:  # the length before the two bytes, then the end of the file
            end = file.seek(0, os.SEEK_END) - 2
            file.seek(end - 4)
            file.write((2 * SIDE * SIDE).to_bytes(4, "little"))
            file.truncate(end + 2 * SIDE * SIDE)


def headers(folder: Path) -> None:
    """Files per CPU-second: pydicom, our header, the whole scan with its catalog."""
    write_slices(folder / "ct")
    paths = sorted((folder / "ct").glob("*.dcm"))

    def ask_pydicom() -> None:
        for path in paths:
            dataset = dcmread(path, stop_before_pixels=True)
            for keyword in KEYWORDS:
                dataset.get(keyword)

    def scan_all() -> None:
        with Catalog.of(folder / "ct", folder / "home") as catalog:
            scan(folder / "ct", catalog, key=KEY)

    def read_all() -> None:
        for path in paths:
            read_header(path)

    read_all()  # warm
    elements = len(list(dcmread(paths[0]).iterall()))
    plain = cpu(ask_pydicom)
    print(f"\n{len(paths)} CT slices of {elements} elements{'':<30}files per CPU-second   times pydicom")
    print(f"  {f'pydicom, {len(KEYWORDS)} values':<54}{len(paths) / plain:>14,.0f}{1:>16.1f}")
    for name, seconds in (("konsil, header alone", cpu(read_all)), ("konsil, whole scan with catalog", cpu(scan_all))):
        print(f"  {name:<54}{len(paths) / seconds:>14,.0f}{plain / seconds:>16.1f}")


def one(archive: Path, home: Path, what: str, processes: int) -> None:
    """In a process of its own: one refresh, or one pass over all series; its figures on standard output."""
    start, used = time.perf_counter(), time.process_time()
    with Catalog.of(archive, home) as catalog:
        if what == "series":
            done = sum(len(files) for files in catalog.series_entries())
        elif what == "scan":
            done = scan(archive, catalog, key=KEY).files
        else:
            done = refresh(archive, catalog, key=KEY, processes=processes).files
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = time.process_time() - used + children.ru_utime + children.ru_stime
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    figures = {"files": done, "seconds": time.perf_counter() - start, "cpu": spent, "peak": peak}
    (home / "figures.json").write_text(json.dumps(figures))


def large(folder: Path, files: int, processes: int) -> None:
    """An archive of `files`: catalogued, looked at again, and its series streamed."""
    archive, home = folder / "archive", folder / "home-of-many"
    home.mkdir()
    start = time.perf_counter()
    make(archive, files)
    print(f"\n{files:,} files made in {time.perf_counter() - start:.0f} s")
    print(f"{'':<34}files per wall s    per CPU-s    MiB, this process    MiB, all together")
    for name, what in (
        ("catalogued", "refresh"),
        ("again, nothing new", "refresh"),
        ("scanned and counted, nothing new", "scan"),
        ("all series streamed", "series"),
    ):
        words = ["--one", what, "--archive", archive, "--home", home, "--processes", processes]
        measured = run([sys.executable, __file__, *map(str, words)])
        told = json.loads((home / "figures.json").read_text())
        wall, spent = (told["files"] / told[key] for key in ("seconds", "cpu"))
        memory = f"{told['peak'] / MIB:>15,.0f}{measured.peak_bytes / MIB:>20,.0f}"
        print(f"  {name:<32}{wall:>14,.0f}{spent:>14,.0f}{memory}")
    size = sum(path.stat().st_size for path in home.rglob("catalog.sqlite*"))
    print(f"  the catalog takes {size / files:,.0f} bytes a file on disk")


def main() -> None:
    """Print the tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--files", type=int, default=1_000_000)
    arguments.add_argument("--folder", type=Path, help="where the files are made; 4.2 GB for a million")
    arguments.add_argument("--processes", type=int, default=2)
    arguments.add_argument("--one", help=argparse.SUPPRESS)
    arguments.add_argument("--archive", type=Path, help=argparse.SUPPRESS)
    arguments.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.one:
        one(given.archive, given.home, given.one, given.processes)
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        headers(Path(name))
        large(Path(name), given.files, given.processes)


if __name__ == "__main__":
    main()
