"""First pass, measured: from files to stored values per transfer syntax, to canonical tensors, and by two processes.

    .venv/bin/python benchmarks/decoding.py

Everything is made in a temporary folder: 512 × 512 CT-like slices, smooth with noise, 12 bits, 260 elements. CPU
seconds of this process except where it says wall; the ratios within one run are what to compare between machines. The
"fastest single decoder" is the best, on the same files, of pydicom with each of its plugins and GDCM's own reader.
"""

import io
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import gdcm
import numpy as np
import torch
from monai.data.image_reader import PydicomReader
from monai.transforms.compose import Compose
from monai.transforms.intensity.array import ScaleIntensityRange
from monai.transforms.io.array import LoadImage
from monai.transforms.spatial.array import Resize
from monai.transforms.utility.array import EnsureChannelFirst
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from slices import cpu, slice_of_ct

from client.dicom.crew import Limits
from client.dicom.decoding import Task, decode_all
from client.dicom.item import Item, Location, Part
from client.dicom.pixels.grey import grey_plane
from client.dicom.pixels.heap import keep_freed_memory
from client.dicom.pixels.image import read_image
from client.dicom.pixels.objects import open_object
from client.dicom.pixels.stored import stored_frame
from client.dicom.writing import write_object
from shared.study import Input

SIDE = 512
FILES = 24
#: Times everything is measured; the fastest counts, because other work on the machine only adds.
REPEATS = 5
#: Images of the run with processes, so many that starting them does not count.
TASKS: Mapping[UID, int] = {ExplicitVRLittleEndian: 6000, JPEGLSLossless: 1200}

Read = Callable[[Path], object]


def picture(number: int) -> NDArray[np.uint16]:
    """A 12-bit picture [SIDE, SIDE], smooth with noise, so that compression finds something to do."""
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    smooth = 1500 + 900 * np.sin(columns / 40 + number) * np.cos(rows / 30)
    pixels: NDArray[np.uint16] = np.clip(smooth + rng.normal(0, 12, (SIDE, SIDE)), 0, 4095).astype("<u2")
    return pixels


def write_all(folder: Path, syntax: UID) -> list[Path]:
    """FILES slices in `syntax`."""
    paths = [folder / f"{syntax}-{number}.dcm" for number in range(FILES)]
    for number, path in enumerate(paths):
        dataset = slice_of_ct(number)
        dataset.PixelData = picture(number).tobytes()
        dataset["PixelData"].VR = "OW"
        if syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless):
            write_object(path, dataset, syntax)
            continue
        write_object(path, dataset)
        if syntax == JPEGLosslessSV1:
            by_gdcm(path)
        elif syntax != ExplicitVRLittleEndian:
            rewrite(path, syntax, number)
    return paths


def by_gdcm(path: Path) -> None:
    """The file at `path` as lossless JPEG: no decoder of ours can write it."""
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    change.Change()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.Write()


def rewrite(path: Path, syntax: UID, number: int) -> None:
    """The file at `path` in another native syntax, or its upper 8 bits as JPEG."""
    dataset = slice_of_ct(number)
    dataset.file_meta = dcmread(path).file_meta
    dataset.file_meta.TransferSyntaxUID = syntax
    pixels = picture(number)
    dataset.PixelData = (pixels.byteswap() if syntax == ExplicitVRBigEndian else pixels).tobytes()
    dataset["PixelData"].VR = "OW"
    if syntax == JPEGBaseline8Bit:
        file = io.BytesIO()
        Image.fromarray((pixels >> 4).astype(np.uint8)).save(file, "JPEG", quality=95)
        dataset.PixelData = encapsulate([file.getvalue()])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
        dataset.BitsAllocated = dataset.BitsStored = 8
        dataset.HighBit = 7
    dataset.save_as(path, enforce_file_format=True)


def ours(path: Path) -> NDArray[np.generic]:
    """Stored values, the way the first pass reads them."""
    return stored_frame(open_object(path.read_bytes()), 0).values


def by_pydicom(plugin: str, path: Path) -> NDArray[np.generic]:
    """Stored values by pydicom with one of its plugins."""
    dataset = dcmread(path)
    decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
    array: NDArray[np.generic] = decoder.as_array(dataset, decoding_plugin=plugin)[0]
    return array


def by_reader(path: Path) -> NDArray[np.generic]:
    """Stored values by GDCM's own reader of files."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    if not reader.Read():
        raise ValueError("a file that GDCM reads")
    data = reader.GetImage().GetBuffer().encode("utf-8", "surrogateescape")
    return np.frombuffer(data, np.uint16 if len(data) == 2 * SIDE * SIDE else np.uint8).reshape(SIDE, SIDE)


def others(syntax: UID) -> dict[str, Read]:
    """The single decoders that read `syntax`."""
    decoder = get_decoder(syntax)
    plugins = decoder.available_plugins if decoder.is_encapsulated else ("",)
    return {f"pydicom {plugin}".strip(): partial(by_pydicom, plugin) for plugin in plugins} | {"gdcm": by_reader}


def fastest(reads: Mapping[str, Read], paths: Sequence[Path]) -> dict[str, float]:
    """CPU seconds per file of each reader, measured in turn."""
    best = dict.fromkeys(reads, float("inf"))
    for _ in range(REPEATS):
        for name, read in reads.items():
            best[name] = min(best[name], cpu(partial(_all, read, paths)) / len(paths))
    return best


def _all(read: Read, paths: Sequence[Path]) -> None:
    for path in paths:
        read(path)


def stored_values(folder: Path) -> dict[UID, list[Path]]:
    """The first table; the files by syntax."""
    print(
        f"\nfile to stored values, {SIDE} × {SIDE}{'':<18}images per CPU-second   fastest single decoder   time, share"
    )
    files = {}
    for syntax in (
        ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian,
        RLELossless, JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless,
    ):  # fmt: skip
        paths = files[syntax] = write_all(folder, syntax)
        reads = others(syntax)
        for read in reads.values():
            if not np.array_equal(read(paths[0]), ours(paths[0])):  # type: ignore[arg-type]
                raise ValueError("the same pixels from everybody")
        seconds = fastest({"ours": ours} | reads, paths)
        own = seconds.pop("ours")
        name = min(seconds, key=lambda each: seconds[each])
        shown = f"{name} {1 / seconds[name]:,.0f}"
        print(f"  {syntax.name[:46]:<46}{1 / own:>18,.0f}{shown:>25}{own / seconds[name]:>13.2f}")
    return files


def tensors(files: Mapping[UID, Sequence[Path]]) -> None:
    """The second table: MONAI's way to the same things with its PydicomReader."""
    load = LoadImage(reader=PydicomReader, image_only=True)
    window, resize = ScaleIntensityRange(0, 4095, 0, 1, clip=True), Resize((224, 224), anti_aliasing=True)
    theirs: dict[int, Read] = {SIDE: load, 224: Compose([load, EnsureChannelFirst(), window, resize])}
    print(f"\nfile to canonical tensor{'':<32}images per CPU-second         MONAI, PydicomReader         times")
    for syntax in (ExplicitVRLittleEndian, RLELossless, JPEGLSLossless):
        for side, read in theirs.items():
            spec = Input(modalities=("CT",), size=(side, side))
            best = Input(modalities=("CT",), size=(side, side), window="percentile")
            reads: dict[str, Read] = {
                "monai": read,
                "file": partial(_tensor, spec),
                "percentile": partial(_tensor, best),
            }
            seconds = fastest(reads, files[syntax])
            monai = seconds.pop("monai")
            for name, own in seconds.items():
                _row(f"{syntax.name[:28]}, {side}², window: {name}", own, monai)
        seconds = fastest({"monai": _by_monai, "own": _values}, files[syntax])
        _row(f"{syntax.name[:28]}, {SIDE}²: values alone", seconds["own"], seconds["monai"])


def _row(said: str, own: float, monai: float) -> None:
    print(f"  {said:<54}{1 / own:>18,.0f}{1 / monai:>28,.0f}{monai / own:>14.1f}")


def _by_monai(path: Path) -> NDArray[np.float32]:
    """The reader's array, no transform around it."""
    reader = PydicomReader()
    array: NDArray[np.float32] = reader.get_data(reader.read(path))[0]
    return array


def _values(path: Path) -> NDArray[np.float32]:
    """The same by us: rescaled values, float32."""
    grey = grey_plane(open_object(path.read_bytes()), 0)
    return np.take(grey.values.astype(np.float32), grey.index)


def _tensor(spec: Input, path: Path) -> NDArray[np.float32]:
    return read_image(path, spec)


def processes(folder: Path, files: Mapping[UID, Sequence[Path]]) -> None:
    """The third table."""
    spec = Input(modalities=("CT",), size=(224, 224))
    print(f"\nfiles to rows of a cache, 224 × 224{'':<20}images per wall second: one process, two   ratio")
    for syntax, count in TASKS.items():
        paths = files[syntax]
        stamps = [(s.st_size, s.st_mtime_ns, s.st_ino) for s in (path.stat() for path in paths)]
        parts = [Part(Location(path), stamp) for path, stamp in zip(paths, stamps, strict=True)]
        tasks = [Task(row, Item(b"", (parts[row % len(parts)],))) for row in range(count)]
        rate = {}
        for number in (1, 2):
            (folder / "rows").write_bytes(b"")
            start = time.perf_counter()
            results = decode_all(folder / "rows", spec, tasks, limits=Limits(processes=number))
            rate[number] = count / (time.perf_counter() - start)
            if len(results) != count or not all(type(result) is int for result in results.values()):
                raise ValueError("a row of every image")
        print(f"  {syntax.name[:44]:<44}{rate[1]:>26,.0f}{rate[2]:>12,.0f}{rate[2] / rate[1]:>12.2f}")


def main() -> None:
    """Print the three tables."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    keep_freed_memory()  # as our own processes do; it helps everybody here
    with tempfile.TemporaryDirectory() as name:
        files = stored_values(Path(name))
        tensors(files)
        processes(Path(name), files)


if __name__ == "__main__":
    main()
