"""DICOM files that mutations start from.

Made here, one of each transfer syntax and kind of geometry; pydicom's own test files; and, where ../shared/data is,
small ones of each vendor and syntax. Sorted, the same on every machine with the same data.
"""

import io
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
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
    RTDoseStorage,
)

from client.dicom.pixels.syntaxes import DEFLATED_FRAMES
from client.dicom.scanning.unusual import MALFORMED
from tests.client.dicom.conftest import make_object
from tests.client.dicom.geometry.series import encoded, image, line, multi_frame, series
from tests.client.dicom.geometry.siemens import csa1, csa2, mosaic, protocol
from tests.client.dicom.geometry.test_vectors import nuclear
from tests.fuzz.elements import SYNTAX, parse, written

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "dicom"
#: Bytes of the largest real file; members of one archive that are looked at; of all that is found, files kept.
LARGEST, LOOKED_AT, KEPT = 250_000, 100, 100

#: Elements whose values decide sizes: tag, VR and length, explicit little endian.
WORDS = (
    b"\x28\x00\x08\x00IS", b"\x28\x00\x10\x00US\x02\x00\xff\xff", b"\x28\x00\x11\x00US\x02\x00\xff\xff",
    b"\x28\x00\x00\x01US\x02\x00", b"\xff\xff\xff\xff", b"\xfe\xff\x00\xe0\xff\xff\xff\xff",
    b"\xfe\xff\xdd\xe0\x00\x00\x00\x00", b"SQ\x00\x00\xff\xff\xff\xff", b"\xfe\xff\x00\xe0\x00\x00\x00\x00",
    b"\xe0\x7f\x10\x00OW\x00\x00", b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.4.70",
    b"1.2.840.10008.1.2.5", b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.4.80", b"9" * 4400, b"DICM", b"UN",
    b"MONOCHROME1", b"PALETTE COLOR", b"YBR_FULL_422", b"RGB", b"1.2.840.10008.1.2.4.201", b"1.2.840.10008.1.2.8.1",
)  # fmt: skip


def pixel_seeds() -> tuple[bytes, ...]:
    """One object of each transfer syntax that we can write, and what headers do to pixels: windows, tables, palettes,
    sequences, floats."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    frame = packer.compress(bytes(64)) + packer.flush()
    deflated = _renamed(_file(_encapsulated(frame), JPEGBaseline8Bit), JPEGBaseline8Bit, DEFLATED_FRAMES)
    return (*(_file(dataset, syntax) for dataset, syntax in _pixel_objects()), deflated)


def _pixel_objects() -> Iterator[tuple[Dataset, UID]]:
    grey, deep = np.arange(64, dtype=np.uint8).reshape(8, 8), np.arange(64, dtype=np.uint16).reshape(8, 8) * 900
    rgb = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [3, 1, 16], [0, 50, 100]
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    colours = ("Red", "Green", "Blue")
    palette: dict[str, Any] = {f"{name}PaletteColorLookupTableDescriptor": [64, 0, 16] for name in colours}
    palette |= {f"{name}PaletteColorLookupTableData": deep.tobytes() for name in colours}
    window: dict[str, Any] = {"WindowCenter": [100, 5], "WindowWidth": [200, 9]}
    window |= {"RescaleSlope": "2", "RescaleIntercept": "-9"}
    place = {"PixelPaddingValue": 0, "PixelSpacing": ["0.1", "0.2"]}
    yield make_object(deep, **window, **place), ExplicitVRLittleEndian
    yield make_object(deep, ModalityLUTSequence=[item], VOILUTSequence=[item]), ImplicitVRLittleEndian
    yield make_object(grey, PhotometricInterpretation="PALETTE COLOR", **palette), ExplicitVRLittleEndian
    yield make_object(rgb), ExplicitVRBigEndian
    yield make_object(deep, NumberOfFrames="1", VOILUTFunction="SIGMOID", **window), DeflatedExplicitVRLittleEndian
    yield _floats(deep), ExplicitVRLittleEndian
    for pixels in (deep, rgb):
        for syntax in (RLELossless, JPEG2000Lossless, JPEGLSLossless):
            large = np.resize(pixels, (64, 64, *pixels.shape[2:]))  # JPEG 2000 halves it five times
            dataset = make_object(large if syntax == JPEG2000Lossless else pixels)
            dataset.compress(syntax, generate_instance_uid=False)
            yield dataset, syntax
    jpeg = io.BytesIO()
    Image.fromarray(grey).save(jpeg, "JPEG")
    yield _encapsulated(jpeg.getvalue()), JPEGBaseline8Bit


def _encapsulated(frame: bytes) -> Dataset:
    """8 × 8 grey pixels, compressed as `frame`."""
    dataset = make_object(np.zeros((8, 8), np.uint8), PixelData=encapsulate([frame]))
    dataset["PixelData"].is_undefined_length = True
    return dataset


def _renamed(data: bytes, syntax: str, other: str) -> bytes:
    """`data` under the name of the `other` transfer syntax, which pydicom does not write."""
    file = parse(data)
    if file is None:
        raise ValueError("a file of our own")
    for node in file.meta:
        if node.tag == SYNTAX and node.value.rstrip(b"\0") == syntax.encode():
            node.value = other.encode() + b"\0" * (len(other) % 2)
    return written(file)


def _floats(pixels: NDArray[Any]) -> Dataset:
    dataset = make_object(pixels, BitsAllocated=32, FloatPixelData=pixels.astype(np.float32).tobytes())
    del dataset.PixelData, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation
    return dataset


def _file(dataset: Dataset, syntax: UID) -> bytes:
    dataset.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def placed_seeds() -> tuple[bytes, ...]:
    """One object of each kind that says where its frames lie."""
    centres = [[0.0, 4.0, 10.0 + 4.0 * index] for index in range(7)]
    normal = {"NumberOfImagesInMosaic": ["7"], "SliceNormalVector": ["0.0", "0.0", "1.0"]}
    dose = image(1, SOPClassUID=RTDoseStorage, Modality="RTDOSE", NumberOfFrames=3, ImagePositionPatient=[1, 2, 3])
    dose.GridFrameOffsetVector = [0, 2, 4]
    temporal = multi_frame([place for place in line(4) for _ in range(2)])
    for number, item in enumerate(temporal.PerFrameFunctionalGroupsSequence):
        content = Dataset()
        content.StackID, content.TemporalPositionIndex, content.DimensionIndexValues = "1", number % 2 + 1, [1, number]
        item.FrameContentSequence = Sequence([content])
    made = (
        *series(line(2)), multi_frame(line(3)), temporal, mosaic(1, csa2(normal)), mosaic(1, csa1(normal)),
        mosaic(1, csa2({"NumberOfImagesInMosaic": ["7"]}), protocol(centres)), nuclear([1, 2, 3]), dose,
    )  # fmt: skip
    return tuple(map(encoded, made))


@cache
def real_seeds() -> tuple[bytes, ...]:
    """The smallest real file of each transfer syntax, modality, kind of object, colour and vendor."""
    found: dict[tuple[str, ...], bytes] = {}
    for data in sorted(filter(_begins_well, _real_files()), key=lambda one: (len(one), one)):
        found.setdefault(_kind(data), data)
    return tuple(sorted(found.values(), key=lambda one: (len(one), one)))[:KEPT]


def _real_files() -> Iterator[bytes]:
    for path in sorted((Path(pydicom.__file__).parent / "data" / "test_files").rglob("*")):
        if path.is_file() and path.stat().st_size <= LARGEST:
            yield path.read_bytes()
    for archive in sorted(DATA.glob("*.zip")):
        with zipfile.ZipFile(archive) as file:
            small = [info for info in file.infolist() if 0 < info.file_size <= LARGEST and not info.is_dir()]
            for info in small[:: max(1, len(small) // LOOKED_AT)]:
                yield file.read(info)


def _begins_well(data: bytes) -> bool:
    """As a DICOM file does, with a preamble or without."""
    return data[128:132] == b"DICM" or data[:2] in (b"\x02\0", b"\x08\0", b"\0\x08")


def _kind(data: bytes) -> tuple[str, ...]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = dcmread(io.BytesIO(data), stop_before_pixels=True)
            syntax = str(dataset.file_meta.get("TransferSyntaxUID"))
            names = ("Modality", "SOPClassUID", "PhotometricInterpretation", "Manufacturer", "BitsAllocated")
            return (syntax, *(str(dataset.get(name))[:12] for name in names))
    except MALFORMED:
        return ("none", data[:8].hex())
