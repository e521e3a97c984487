"""A hospital's images and tables: DICOM of every transfer syntax that is decoded, label files, pictures to convert."""

import faulthandler
import io
import os
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from client.dicom.labels.table import read_labels
from client.dicom.pictures import open_pictures
from client.dicom.pixels.image import read_image
from client.dicom.pixels.syntaxes import DECODERS
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning.catalog import Catalog
from client.dicom.scanning.header import read_header
from client.dicom.scanning.rules import fault
from client.dicom.scanning.scan import scan
from client.dicom.writing import derived_uid
from shared.errors import InputError, KonsilError
from shared.study import Input
from tests.fuzz.engine import Decoder, Target

HANG_S = 20
SPEC = Input(modalities=("DX",), size=(16, 16))
#: Elements whose values decide sizes: tag, VR and length, explicit little endian.
_DICOM_WORDS = (
    b"\x28\x00\x08\x00IS", b"\x28\x00\x10\x00US\x02\x00\xff\xff", b"\x28\x00\x11\x00US\x02\x00\xff\xff",
    b"\x28\x00\x00\x01US\x02\x00", b"\xff\xff\xff\xff", b"\xfe\xff\x00\xe0\xff\xff\xff\xff",
    b"\xfe\xff\xdd\xe0\x00\x00\x00\x00", b"SQ\x00\x00\xff\xff\xff\xff", b"\xfe\xff\x00\xe0\x00\x00\x00\x00",
    b"\xe0\x7f\x10\x00OW\x00\x00", b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.4.70",
    b"1.2.840.10008.1.2.5", b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.4.80", b"9" * 4400, b"DICM", b"UN",
    b"MONOCHROME1", b"PALETTE COLOR", b"YBR_FULL_422", b"RGB",
)  # fmt: skip


def _object(pixels: NDArray[Any], **values: object) -> Dataset:
    bits = 8 * pixels.dtype.itemsize
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.SOPClassUID, dataset.Modality = SecondaryCaptureImageStorage, "DX"
    dataset.SOPInstanceUID = derived_uid("fuzz", "image", "1")
    dataset.SeriesInstanceUID = derived_uid("fuzz", "series", "1")
    dataset.StudyInstanceUID = derived_uid("fuzz", "study", "1")
    dataset.PatientID, dataset.PatientSex, dataset.PatientAge = "P1", "F", "040Y"
    dataset.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, 0
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def _dicom_seeds(folder: Path) -> tuple[bytes, ...]:
    """One object of each transfer syntax, and what headers do to pixels: windows, tables, palettes, sequences."""
    grey, deep = np.arange(64, dtype=np.uint8).reshape(8, 8), np.arange(64, dtype=np.uint16).reshape(8, 8) * 900
    rgb = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [3, 1, 16], [0, 50, 100]
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    palette: dict[str, Any] = {
        f"{color}PaletteColorLookupTableDescriptor": [64, 0, 16] for color in ("Red", "Green", "Blue")
    }
    palette |= {f"{color}PaletteColorLookupTableData": deep.tobytes() for color in ("Red", "Green", "Blue")}
    window: dict[str, Any] = {
        "WindowCenter": [100, 5],
        "WindowWidth": [200, 9],
        "RescaleSlope": "2",
        "RescaleIntercept": "-9",
    }
    objects: list[tuple[Dataset, UID]] = [
        (_object(deep, **window, PixelPaddingValue=0, PixelSpacing=["0.1", "0.2"]), ExplicitVRLittleEndian),
        (_object(deep, ModalityLUTSequence=[item], VOILUTSequence=[item]), ImplicitVRLittleEndian),
        (_object(grey, PhotometricInterpretation="PALETTE COLOR", **palette), ExplicitVRLittleEndian),
        (_object(rgb), ExplicitVRBigEndian),
        (_object(deep, NumberOfFrames="1", VOILUTFunction="SIGMOID", **window), DeflatedExplicitVRLittleEndian),
    ]
    for pixels in (deep, rgb):
        for syntax in (RLELossless, JPEG2000Lossless, JPEGLSLossless):
            large = np.resize(pixels, (64, 64, *pixels.shape[2:]))  # JPEG 2000 halves it five times
            dataset = _object(large if syntax == JPEG2000Lossless else pixels)
            dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            dataset.compress(syntax, generate_instance_uid=False)
            objects.append((dataset, syntax))
    jpeg = io.BytesIO()
    Image.fromarray(grey).save(jpeg, "JPEG")
    photo = _object(grey, PixelData=encapsulate([jpeg.getvalue()]))
    photo["PixelData"].is_undefined_length = True
    objects.append((photo, JPEGBaseline8Bit))
    return tuple(_written(folder / "seed.dcm", dataset, syntax) for dataset, syntax in objects)


def _written(path: Path, dataset: Dataset, syntax: UID) -> bytes:
    dataset.file_meta.TransferSyntaxUID = syntax
    dcmwrite(path, dataset, enforce_file_format=True)
    return path.read_bytes()


def _header(folder: Path) -> Decoder:
    seeds, path = _dicom_seeds(folder), folder / "input.dcm"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        fault(read_header(path))

    return Decoder(read, seeds, "bytes", _DICOM_WORDS, (LeftOutError,), extra_mb=100)


def _image(folder: Path) -> Decoder:
    """As the cache does: the header first, then the pixels of what has no fault."""
    seeds, path = _dicom_seeds(folder), folder / "input.dcm"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        header = read_header(path)
        reason = fault(header)
        if reason is not None:
            raise LeftOutError(reason)
        if DECODERS.get(header.transfer_syntax):
            _apart(lambda: read_image(path, SPEC))
        else:
            read_image(path, SPEC)

    return Decoder(read, seeds, "bytes", _DICOM_WORDS, (LeftOutError,), extra_mb=500)


def _apart(decode: Callable[[], object]) -> None:
    """`decode` in a process of its own, as client/dicom/decoding.py has it: a crash there costs this image."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            faulthandler.disable()
            signal.alarm(HANG_S)
            os.close(told)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the libraries' own words
            decode()
            os.write(tell, b"decoded")
        except LeftOutError as left_out:
            os.write(tell, left_out.reason.value.encode())
        except BaseException as error:  # noqa: BLE001
            os.write(tell, f"!{type(error).__name__}: {error}".encode()[:2000])
        finally:
            os._exit(0)
    os.close(tell)
    with os.fdopen(told, "rb") as pipe:
        said = pipe.read().decode("utf-8", "replace")
    if os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGALRM:
        raise AssertionError(f"a decoder that takes more than {HANG_S} s")
    if said.startswith("!"):
        raise AssertionError(said)
    if said != "decoded":
        raise LeftOutError(Reason(said or Reason.DECODE_FAILED))


def _scan(folder: Path) -> Decoder:
    """An archive of one file, with its catalog."""
    seeds = _dicom_seeds(folder)
    archive = folder / "archive"
    archive.mkdir()

    def read(data: bytes) -> None:
        (archive / "a.dcm").write_bytes(data)
        for old in folder.glob("catalog.sqlite*"):
            old.unlink()
        with Catalog(folder / "catalog.sqlite") as catalog:
            scan(archive, catalog, key=bytes(32), spec=SPEC)

    return Decoder(read, seeds, "bytes", _DICOM_WORDS, extra_mb=100)


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
    for row in pictures.rows():
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
    Target(
        "DICOM header",
        _header,
        4,
        ("client/dicom/scanning/elements.py", "client/dicom/scanning/header.py", "client/dicom/scanning/rules.py"),
    ),
    Target(
        "DICOM image",
        _image,
        1,
        ("client/dicom/pixels/image.py", "client/dicom/pixels/intensity.py", "client/dicom/decoding.py"),
    ),
    Target(
        "DICOM archive",
        _scan,
        0.2,
        ("client/dicom/scanning/scan.py", "client/dicom/scanning/catalog.py", "client/dicom/archive.py"),
    ),
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
