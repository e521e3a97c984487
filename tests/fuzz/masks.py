"""What says what is in an image: structured reports, segmentations, structure sets, drawings, the table of masks."""

import contextlib
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from client.dicom.item import Location
from client.dicom.labels.contours import Contours
from client.dicom.labels.drawing import ANY
from client.dicom.labels.faults import MaskError
from client.dicom.labels.grid import Grid
from client.dicom.labels.mask_table import read_mask_table
from client.dicom.labels.masks import load_masks, mask_on, read_masks
from client.dicom.labels.report import Reading, read_reports
from client.dicom.labels.segmentation import Segmentation
from client.dicom.writing import write_object
from shared.errors import KonsilError
from tests.client.dicom.conftest import make_object
from tests.client.dicom.labels.conftest import make_entry
from tests.client.dicom.labels.reports import group, measured, pictures, report_writer
from tests.client.dicom.labels.segmentations import affine, compressed, ct, grid_of, saved, some_mask, written
from tests.client.dicom.labels.structures import structure_set
from tests.fuzz.apart import Apart
from tests.fuzz.dicom_seeds import WORDS, pixel_seeds, real_seeds
from tests.fuzz.engine import Decoder, Target

KEY = bytes(32)
SEG, SR = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88."
GRID = grid_of(affine())
#: Turned out of every plane that a mask was drawn in.
OBLIQUE = Grid((1.2, 0.1, 0.4, -9.0, 0.3, 1.1, 0.1, 5.0, 0.2, -0.3, 0.7, 28.0, 0.0, 0.0, 0.0, 1.0), (3, 4, 5))
_REPORT_WORDS = (b"CONTAINS", b"HAS OBS CONTEXT", b"CODE", b"TEXT", b"IMAGE", b"UIDREF", b"SCT", b"VERIFIED")
_TABLE_WORDS = (b",", b";", b'"', b"mask", b"../../x", b"/etc/passwd", b"\0", b"a" * 5000, b"series_instance_uid")


def _report(folder: Path) -> Decoder:
    images = pictures(make_object)
    report_writer(folder)("one", measured(group(images["a"]), group(images["c"])), images["a"], images["c"])
    path = folder / "input.dcm"
    readings = (
        Reading(),
        Reading(unverified=True, scope="study", spelling="code"),
        Reading(scope="series", several=True),
    )

    def read(data: bytes) -> None:
        path.write_bytes(data)
        for reading in readings:
            labels = read_reports(path, KEY, reading)
            labels.of(make_entry())

    own = (folder / "reports" / "one.dcm").read_bytes()
    return Decoder(read, (own, *_real(SR)), "dicom", (*WORDS, *_REPORT_WORDS), extra_mb=200, slow_s=2.0)


def _real(*classes: str) -> tuple[bytes, ...]:
    return tuple(seed for seed in real_seeds() if any(name.encode() in seed[:2000] for name in classes))


def _masked(path: Path, data: bytes) -> None:
    """All that is done with a file of masks."""
    path.write_bytes(data)
    masks = read_masks(path, KEY)
    masks.report([next(iter(source.series), b"") for source in masks.sources])
    found = load_masks(Location(path))
    for grid in (GRID, OBLIQUE):
        for label in (*found.labels[:2], ANY):
            with contextlib.suppress(MaskError):
                if mask_on(grid, found, label).shape != grid.shape:
                    raise AssertionError("a mask of another grid")
    if isinstance(found, Segmentation):
        for uid in {uid for drawn in found.drawn for uid, _ in drawn} | {""}:
            with contextlib.suppress(MaskError):
                found.on_image(next(iter(found.labels), ""), uid)
                break
    elif not isinstance(found, Contours):
        with contextlib.suppress(MaskError):
            found.on_image(ANY, (8, 8))


def _masks(seeds: Callable[[], tuple[bytes, ...]], folder: Path) -> Decoder:
    path = folder / "input.dcm"
    return Decoder(
        partial(_masked, path), seeds(), "dicom", WORDS, (MaskError,), extra_mb=1200, slow_s=5.0, apart=Apart()
    )


def _segmentations() -> tuple[bytes, ...]:
    images, mask = ct(make_object)(affine()), some_mask()
    numbers = mask.astype(np.uint8)
    made = [written(images, mask), written(images, mask.astype(np.float32) / 2, "FRACTIONAL")]
    made.append(written(images, numbers, "LABELMAP"))
    made.append(compressed(written(images, numbers, "LABELMAP"), "1.2.840.10008.1.2.5"))
    return (*map(saved, made), *_real(SEG))


def _structures() -> tuple[bytes, ...]:
    square = [[-7.0, 11.0, 30.0], [-5.5, 11.0, 30.0], [-5.5, 14.0, 30.0], [-7.0, 14.0, 30.0]]
    higher = [[x + 0.5, y, z + 2] for x, y, z in square]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.dcm"
        write_object(path, structure_set([("GTV", [square, higher]), ("Lung", [square]), ("", [])]))
        return (path.read_bytes(), *_real("1.2.840.10008.5.1.4.1.1.481.3"))


def _drawing(folder: Path) -> Decoder:
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8) % 3
    path, npz = folder / "input", io.BytesIO()
    np.savez(npz, mask=np.zeros((3, 4, 5), np.uint8), affine=affine())
    seeds = [npz.getvalue(), *pixel_seeds()[:3]]
    for kind, mode in (("PNG", "L"), ("PNG", "1"), ("PNG", "P"), ("TIFF", "I;16"), ("TIFF", "L"), ("BMP", "L")):
        buffer = io.BytesIO()
        image = Image.fromarray(pixels.astype(np.uint16)) if mode == "I;16" else Image.fromarray(pixels).convert(mode)
        image.save(buffer, kind)
        seeds.append(buffer.getvalue())
    words = (b"IDAT", b"IHDR", b"PLTE", b"II*\0", b"MM\0*", b"'descr': '|O'", b"(99999999999,)", b"mask.npy", b"BM")
    return Decoder(
        partial(_masked, path), seeds, "bytes", words, (MaskError,), extra_mb=1200, slow_s=5.0, apart=Apart()
    )


def _table(folder: Path) -> Decoder:
    path = folder / "masks.csv"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        table = read_mask_table(path, KEY)
        with contextlib.suppress(MaskError):
            found = table.of(make_entry())
            if isinstance(found, Location) and not found.path.is_relative_to(folder.resolve()):
                raise AssertionError("a way out of the folder")

    seeds = (b"sop_instance_uid,mask\n1.1,a.png\n1.2,b.png\n", b"patient_id;mask\nP1;m\\a.png\nP1;b.png\n")
    return Decoder(read, seeds, "text", _TABLE_WORDS, (KonsilError,))


_LABELS = "client/dicom/labels/"
MASK_TARGETS = (
    Target(
        "DICOM report", _report, 1, tuple(f"{_LABELS}{name}.py" for name in ("report", "content", "coded", "objects"))
    ),
    Target(
        "DICOM segmentation",
        partial(_masks, _segmentations),
        0.5,
        tuple(f"{_LABELS}{name}.py" for name in ("segmentation", "segments", "masks", "grid")),
    ),
    Target("DICOM structures", partial(_masks, _structures), 0.5, (f"{_LABELS}contours.py", f"{_LABELS}polygons.py")),
    Target("drawn mask", _drawing, 0.5, (f"{_LABELS}drawing.py",)),
    Target("mask table", _table, 1, (f"{_LABELS}mask_table.py", f"{_LABELS}rows.py")),
)
