"""Siemens mosaics and their private headers, built by the description of the format."""

import struct
from collections.abc import Mapping, Sequence

from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage

from tests.client.dicom.geometry.series import image


def csa2(values: Mapping[str, Sequence[str]]) -> bytes:
    """A header of the version with the mark SV10."""
    return (
        b"SV10\4\3\2\1"
        + struct.pack("<II", len(values), 77)
        + _body(values, lambda length: (length, length, 77, length))
    )


def csa1(values: Mapping[str, Sequence[str]]) -> bytes:
    """A header of before 2002: lengths have the number of items of the first element added."""
    first = len(next(iter(values.values())))
    return struct.pack("<II", len(values), 77) + _body(values, lambda length: (length + first, 9, 77, 9))


def _body(values: Mapping[str, Sequence[str]], lengths: object) -> bytes:
    assert callable(lengths)
    parts = []
    for name, texts in values.items():
        parts.append(struct.pack("<64si4s3i", name.encode() + b"\0rubbish", 1, b"FD", 4, len(texts), 77))
        for text in texts:
            content = text.encode() + b"\0" if text else b""
            parts += [struct.pack("<4i", *lengths(len(content))), content, bytes(-len(content) % 4)]
    return b"".join(parts)


def protocol(centres: Sequence[Sequence[float]]) -> bytes:
    """The part of a protocol that plans slices: coordinates that are 0 are not written."""
    lines = ["### ASCCONV BEGIN ###", f"sSliceArray.lSize\t = \t{len(centres)}"]
    for index, centre in enumerate(centres):
        for axis, value in zip(("Sag", "Cor", "Tra"), centre, strict=True):
            if value:
                lines.append(f"sSliceArray.asSlice[{index}].sPosition.d{axis}\t = \t{value}")
    return "\n".join([*lines, "### ASCCONV END ###", ""]).encode()


def with_headers(dataset: Dataset, image_header: bytes, series_header: bytes) -> Dataset:
    """`dataset` with its two private headers."""
    dataset.add_new((0x0029, 0x0010), "LO", "SIEMENS CSA HEADER")
    dataset.add_new((0x0029, 0x1010), "OB", image_header)
    dataset.add_new((0x0029, 0x1020), "OB", series_header)
    return dataset


def mosaic(number: int, image_header: bytes, series_header: bytes = b"", **values: object) -> Dataset:
    """A mosaic of 3 × 3 tiles of 4 × 6: a picture of 12 × 18 whose slices lie at x = -9, y = -2, z = 10, 14, ... of
    their first pixels, 2 mm between rows and 3 mm between columns."""
    # Image Position: half of what the picture is larger than a tile before it: 8 rows of 2 mm, 12 columns of 3 mm
    place = {"ImagePositionPatient": [-9 - 18, -2 - 8, 10], "PixelSpacing": [2, 3], "SpacingBetweenSlices": 4}
    kind = {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"], "SOPClassUID": MRImageStorage, "Modality": "MR"}
    dataset = image(number, Rows=12, Columns=18, **{**place, **kind, **values})
    return with_headers(dataset, image_header, series_header)
