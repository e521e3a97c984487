"""Masks kept as images beside the images they were drawn on: PNG, TIFF or BMP, an NPZ array, a DICOM image.

Guarantees: the pixels are read as they are, never scaled or smoothed; a mask of another size than its image is
refused, not stretched; nothing is unpickled, nothing unfolds beyond a limit.

An NPZ file holds an array of whole numbers or booleans, `mask`, [rows, columns] or [slices, rows, columns]; the latter
lies where its `affine` says: [4, 4], (slice, row, column, 1) → LPS mm.

    drawing_of(Location(Path("lesion.png"))).on_image("", (512, 512))   # bool: wherever the pixel is not 0
"""

import io
import warnings
import zipfile
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from client.dicom.item import Location
from client.dicom.labels.faults import MaskError, MaskFault
from client.dicom.labels.grid import Floats, Grid, Mask, nearest_voxels
from client.dicom.pixels.objects import open_object
from client.dicom.pixels.stored import stored_frame
from client.dicom.reasons import LeftOutError
from client.dicom.scanning import containers
from client.dicom.scanning.header import MALFORMED

#: Bytes of a file, and of what is in it once unfolded.
FILE_LIMIT, UNFOLDED_LIMIT = 1 << 28, 1 << 30
#: Formats that keep pixels as they are.
FORMATS = ("PNG", "TIFF", "BMP")
#: Modes of Pillow with one whole number a pixel; "P": the number of a colour.
_MODES = ("1", "L", "P", "I", "I;16", "I;16B")
_BROKEN = (*MALFORMED, OSError, SyntaxError, zipfile.BadZipFile, Image.DecompressionBombError)

#: The label of every pixel that is not 0.
ANY = ""

Values = NDArray[np.generic]


@dataclass(frozen=True, eq=False)
class Drawing:
    """`values`: whole numbers, [rows, columns], or [slices, rows, columns] with an `affine`."""

    values: Values = field(repr=False)
    affine: Floats | None = None
    #: of images no drawing names any
    series: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The values there are besides 0, as text."""
        return tuple(str(int(value)) for value in np.unique(self.values) if value)

    def on_image(self, label: str, size: tuple[int, int]) -> Mask:
        """bool `size`, [rows, columns]: where the value is `label`, or with ANY not 0. Raises MaskError(wrong_size)."""
        if self.values.shape != size:
            raise MaskError(MaskFault.WRONG_SIZE)
        return self._where(label)

    def on(self, grid: Grid, label: str) -> Mask:
        """bool [slices, rows, columns] by the nearest voxel. Raises MaskError(no_geometry) without an affine."""
        if self.affine is None or self.values.ndim != 3:
            raise MaskError(MaskFault.NO_GEOMETRY)
        where, mask = self._where(label), np.zeros(grid.shape, np.bool_)
        for number in range(grid.shape[0]):
            indices, inside = nearest_voxels(grid, number, self.affine, where.shape)
            mask[number] = where[indices] & inside
        return mask

    def _where(self, label: str) -> Mask:
        if label != ANY and label not in self.labels:
            raise MaskError(MaskFault.NO_LABEL)
        where: Mask = self.values != 0 if label == ANY else self.values == int(label)
        return where


def drawing_of(location: Location) -> Drawing:
    """The mask in the file at `location`, whatever its name says.

    Raises MaskError (unreadable, unsupported, too_large).
    """
    try:
        data = containers.read(location, FILE_LIMIT)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if data[128:132] == b"DICM":
                return Drawing(_whole(stored_frame(open_object(data), 0).values))
            return _npz(data) if data[:2] == b"PK" else Drawing(_picture(data))
    except LeftOutError as left_out:
        raise MaskError(MaskFault.of(left_out.reason)) from None
    except _BROKEN:
        raise MaskError(MaskFault.UNREADABLE) from None


def _picture(data: bytes) -> Values:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        if image.mode not in _MODES:
            raise MaskError(MaskFault.UNSUPPORTED)
        if image.width * image.height > UNFOLDED_LIMIT >> 2:
            raise MaskError(MaskFault.TOO_LARGE)
        return np.asarray(image.convert("L") if _is_negative(image) else image)


def _is_negative(image: Image.Image) -> bool:
    """Whether colours are numbered from white to black, or otherwise greys: then the greys are meant, not the numbers.

    The greys of a table that begins with black, and colours, are numbers of structures.
    """
    palette = np.array(image.getpalette() or [], np.uint8).reshape(-1, 3) if image.mode == "P" else np.zeros((1, 3))
    return bool((palette == palette[:, :1]).all() and palette[0, 0])


def _npz(data: bytes) -> Drawing:
    with zipfile.ZipFile(io.BytesIO(data)) as members:
        if sum(member.file_size for member in members.infolist()) > UNFOLDED_LIMIT:
            raise MaskError(MaskFault.TOO_LARGE)
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        affine = np.array(arrays["affine"], np.float64) if "affine" in arrays.files else None
        values = _whole(arrays["mask"], most=3)
    if affine is not None and (affine.shape != (4, 4) or not np.isfinite(affine).all() or not np.linalg.det(affine)):
        raise MaskError(MaskFault.UNREADABLE)
    return Drawing(values, affine)


def _whole(values: Values, most: int = 2) -> Values:
    """`values` if they are whole numbers in 2 to `most` dimensions. Raises MaskError(unsupported)."""
    if values.dtype.kind not in "biu" or not 2 <= values.ndim <= most or not values.size:
        raise MaskError(MaskFault.UNSUPPORTED)
    return values
