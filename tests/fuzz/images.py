"""Tables of labels, and pictures to convert to DICOM."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from client.dicom.labels.table import read_labels
from client.dicom.pictures import open_pictures
from shared.errors import InputError, KonsilError
from tests.fuzz.engine import Decoder, Target


def _labels(folder: Path) -> Decoder:
    path = folder / "labels.csv"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        read_labels(path, bytes(32)).require_match(1)

    seeds = (b"sop_instance_uid,label\n1.2.3,clear\n1.2.4,nodule\n", b"patient_id;label;sex\n7;clear;F\n8;;M\n")
    return Decoder(read, seeds, "text", (b",", b";", b"\t", b'"', b"label", b"patient_id", b"\r", b"a" * 20000))


def _pictures(name: str, seeds: Callable[[], tuple[bytes, ...]], words: tuple[bytes, ...], folder: Path) -> Decoder:
    """A source of pictures that is one file, to its last picture."""
    path = folder / name

    def read(data: bytes) -> None:
        path.write_bytes(data)
        _all(path, None)

    return Decoder(read, seeds(), "bytes", words, extra_mb=200)


def _all(source: Path, labels: str | None) -> None:
    pictures = open_pictures(source, labels)
    for row in pictures.rows("label"):
        pictures.mask(row)
        found = pictures.pixels(row)
        if found.ndim not in (2, 3) or found.dtype not in (np.uint8, np.uint16):
            raise AssertionError(f"a picture of {found.dtype} {found.shape}")


def _packed(members: dict[str, bytes], method: int) -> bytes:
    """A zip without a clock."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in members.items():
            file.writestr(zipfile.ZipInfo(name), data, method)
    return buffer.getvalue()


def _zips() -> tuple[bytes, ...]:
    members = {"labels.csv": b"image,label,age\na.png,clear,40\n", "a.png": _encoded("PNG")}
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    return tuple(_packed(members, method) for method in methods)


def _arrays() -> tuple[bytes, ...]:
    members = {"images.npy": _npy(np.zeros((2, 4, 4), np.uint8)), "labels.npy": _npy(np.array([[0], [1]]))}
    return tuple(_packed(members, method) for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(buffer, kind)
    return buffer.getvalue()


def _table(folder: Path) -> Decoder:
    """The table beside pictures, and beside numbered ones."""
    (folder / "a.png").write_bytes(_encoded("PNG"))
    np.savez(folder / "images.npz", images=np.zeros((2, 4, 4), np.uint8), labels=np.array([[0], [1]]))

    def read(data: bytes) -> None:
        (folder / "labels.csv").write_bytes(data)
        try:
            _all(folder / "images.npz", str(folder / "labels.csv"))
        except InputError:
            _all(folder, None)

    seeds = (b"image,label,patient_id,sex,age\na.png,clear,7,F,40\n", b"image,label,age\n0,clear,40.5\n1,,7\n")
    return Decoder(
        read, seeds, "text", (b",", b'"', b"9" * 5000, "٣".encode() * 9, "²".encode(), b"../a.png", b"a.png")
    )


def _picture(folder: Path) -> Decoder:
    (folder / "labels.csv").write_bytes(b"image,label\na.png,clear\n")

    def read(data: bytes) -> None:
        (folder / "a.png").write_bytes(data)
        _all(folder, None)

    kinds = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "TGA", "ICO", "JPEG2000")
    return Decoder(
        read, [_encoded(kind) for kind in kinds], "bytes", (b"IDAT", b"IHDR", b"eXIf", b"zTXt"), (KonsilError,), 600
    )


_ZIP_WORDS = (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"labels.csv", b"a.png", b"../a.png")
_NPY_WORDS = (
    b"'descr': '|u1'",
    b"'descr': '|O'",
    b"'shape': (2, 4, 4)",
    b"(99999999999,)",
    b"\x93NUMPY",
    b"images.npy",
)

IMAGE_TARGETS = (
    Target("labels", _labels, 3, ("client/dicom/labels/table.py",)),
    Target("picture table", _table, 0.5, ("client/dicom/pictures.py", "client/dicom/dicomize.py")),
    Target("picture", _picture, 0.5, ("client/dicom/pictures.py",)),
    Target(
        "picture zip", lambda folder: _pictures("a.zip", _zips, _ZIP_WORDS, folder), 0.5, ("client/dicom/pictures.py",)
    ),
    Target(
        "picture arrays",
        lambda folder: _pictures("a.npz", _arrays, _NPY_WORDS, folder),
        0.5,
        ("client/dicom/pictures.py",),
    ),
)
