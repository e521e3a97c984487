"""Pictures with a table of labels, one by one: from a folder, a zip of one, or the arrays of an NPZ file; and masks.

Guarantees: a path in the table reaches nothing outside the folder or zip; nothing is unpacked to disk or unpickled;
every row is one picture, or an InputError that names the row (never the patient). A mask is as large as its picture,
and a soft edge in it becomes a hard one at half of white.
"""

import io
import lzma
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from client.dicom.labels.mask_table import NONE
from client.dicom.picture_table import Row, is_number, no_table, read_rows
from client.dicom.scanning.header import MALFORMED
from shared.errors import InputError

#: No picture of a study unpacks to more.
MEMBER_LIMIT = 1 << 29

#: The folder of masks beside the table, and how those of a picture are called that no column `mask` names.
MASKS, MASK_ENDINGS = "masks", (".png", ".bmp", ".tif", ".tiff")
WHITE = 255
#: What zipfile, numpy and Pillow raise on bytes that are not what they say.
_BROKEN = (*MALFORMED, OSError, SyntaxError, zipfile.BadZipFile, lzma.LZMAError)

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


class Pictures(Protocol):
    """A source of pictures."""

    def rows(self, label: str) -> tuple[Row, ...]:
        """Its table, the labels in the column `label`."""

    def pixels(self, row: Row) -> Pixels:
        """[rows, columns] grey or [rows, columns, 3] RGB. Raises InputError naming the row."""

    def mask(self, row: Row) -> Pixels | None:
        """[rows, columns], 0 where nothing is; None if there is none. Raises InputError naming the row."""


class _Files:
    """Pictures in files, however they are reached."""

    def _bytes(self, name: str, row: Row) -> bytes | None:
        """What is in the file `name`; None if there is none. Raises InputError naming the row."""
        raise NotImplementedError

    def pixels(self, row: Row) -> Pixels:
        """The picture of `row`."""
        data = self._bytes(row.image, row)
        if data is None:
            raise _no_picture(row, "no such file beside the table, in the folder or in the zip")
        return _picture(data, row)

    def mask(self, row: Row) -> Pixels | None:
        """The mask that the row names; else that of the picture's name in the folder `masks`."""
        if row.mask.lower() == NONE:
            return None
        stem = f"{MASKS}/{PurePosixPath(row.image).stem}"
        for name in [row.mask] if row.mask else [stem + ending for ending in MASK_ENDINGS]:
            if (data := self._bytes(name, row)) is not None:
                return hard(_picture(data, row), row)
        if row.mask:
            raise _no_picture(row, "no such file as its mask")
        return None


class Folder(_Files):
    """Pictures in `folder`, the table in the file `labels`; paths are relative to the table or the folder."""

    def __init__(self, folder: Path, labels: Path) -> None:
        self._roots = (labels.parent.resolve(), folder.resolve())
        self._labels = labels

    def rows(self, label: str) -> tuple[Row, ...]:
        """Its table."""
        return read_rows(_file(self._labels), self._labels.name, label)

    def _bytes(self, name: str, row: Row) -> bytes | None:
        try:
            for root in self._roots:
                path = (root / name).resolve()
                if path.is_file() and any(path.is_relative_to(each) for each in self._roots):
                    return path.read_bytes()
        except (OSError, ValueError) as error:  # a name too long, or with a NUL
            raise _no_picture(row, f"a path that cannot be read ({type(error).__name__})") from None
        return None


class Zip(_Files):
    """Pictures in the zip at `path`; the table is the member `labels`, by default the only CSV in it, or a file."""

    def __init__(self, path: Path, labels: str | None) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except _BROKEN as error:
            raise InputError(f"{path}", expected="a zip file", got=str(error), do="Check the path.") from None
        self._members = {info.filename: info for info in self._zip.infolist()}
        tables = [name for name in self._members if name.lower().endswith(".csv")]
        self._labels = labels or (tables[0] if len(tables) == 1 else "")
        if not self._labels:
            raise InputError(
                f"{path}", expected="one CSV in the zip", got=f"{len(tables)}", do="Name it with --labels."
            )

    def rows(self, label: str) -> tuple[Row, ...]:
        """Its table."""
        inside = self._labels in self._members
        data = self._read(self._labels) if inside else _file(Path(self._labels), ", and no member of the zip")
        return read_rows(data, self._labels, label)

    def _bytes(self, name: str, row: Row) -> bytes | None:
        """`name` is relative to the table or to the zip's root."""
        del row
        for path in (str(PurePosixPath(self._labels).parent / name), name):
            if path in self._members:
                return self._read(path)
        return None

    def _read(self, name: str) -> bytes:
        if self._members[name].file_size > MEMBER_LIMIT:
            raise InputError("zip member", expected=f"at most {MEMBER_LIMIT} bytes", got="more")
        try:
            with self._zip.open(name) as file:
                return file.read(MEMBER_LIMIT)
        except _BROKEN as error:
            got = str(error) or type(error).__name__
            raise InputError("zip file", expected="readable members", got=got, do="Pack it anew.") from None


class Arrays:
    """Pictures in the arrays of an NPZ file: `images` [N, H, W(, 1 or 3)] and `labels` [N(, 1)], or several such
    pairs (`train_images`, `train_labels`, ...), one after the other; beside them `masks` [N, H, W]. Without a table
    every picture is its own patient; a table's `image` is the number of the picture, from 0."""

    def __init__(self, path: Path, labels: Path | None) -> None:
        try:
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            pairs = [
                (array, arrays[name.removesuffix("images") + "labels"].reshape(len(array), -1)[:, :1])
                for name, array in arrays.items()
                if name.endswith("images") and name.removesuffix("images") + "labels" in arrays
            ]
        except _BROKEN as error:
            raise InputError(f"{path}", expected="an NPZ file of plain arrays", got=str(error)) from None
        if not pairs or not all(_are_pictures(images) and labels.size for images, labels in pairs):
            found = ", ".join(f"{name} {a.dtype} {list(a.shape)}" for name, a in arrays.items()) or "nothing"
            expected = "arrays images [N, H, W(, 1 or 3)] (uint8 or uint16) and labels"
            raise InputError(f"{path}", expected=expected, got=found)
        self._images = [image for images, _ in pairs for image in images]
        self._masks = _masks_of(arrays, path)
        self._known = [str(label[0]) for _, labels in pairs for label in labels]
        self._labels = labels

    def rows(self, label: str) -> tuple[Row, ...]:
        """Its table."""
        if self._labels is None:
            return tuple(Row(n + 1, str(n), str(n), label, "", None) for n, label in enumerate(self._known))
        return read_rows(_file(self._labels), self._labels.name, label, self._known)

    def mask(self, row: Row) -> Pixels | None:
        """The mask of `row`."""
        return hard(self._masks[int(row.image)], row) if self._masks else None

    def pixels(self, row: Row) -> Pixels:
        """The picture of `row`."""
        if not is_number(row.image) or int(row.image) >= len(self._images):
            raise _no_picture(row, f"not a number below {len(self._images)}")
        array = self._images[int(row.image)]
        return np.ascontiguousarray(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array)


def open_pictures(images: Path, labels: str | None) -> Pictures:
    """The source that `images` is. Raises InputError."""
    if images.is_dir():
        table = images / "labels.csv" if labels is None else Path(labels)
        return Folder(images, table)
    if images.suffix.lower() == ".npz":
        return Arrays(images, Path(labels) if labels is not None else None)
    return Zip(images, labels)


def _are_pictures(images: NDArray[np.generic]) -> bool:
    """[N, H, W] or [N, H, W, 1 or 3], of 8 or 16 bits, none empty."""
    fits = images.ndim == 3 or (images.ndim == 4 and images.shape[3] in (1, 3))
    return fits and images.size > 0 and images.dtype in (np.uint8, np.uint16)


def _picture(data: bytes, row: Row) -> Pixels:
    """A PNG, JPEG or other picture that Pillow knows, upright."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as file:
                return _plain(ImageOps.exif_transpose(file))
    except (*_BROKEN, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _no_picture(row, f"a file that Pillow cannot read ({type(error).__name__})") from None


def _plain(picture: Image.Image) -> Pixels:
    """Grey of 8 or 16 bits or RGB; transparency is dropped."""
    if picture.mode.startswith("I;16"):
        return np.asarray(picture).astype(np.uint16)
    if picture.mode == "I":  # how older Pillows open 16-bit PNG
        deep: NDArray[np.uint16] = np.clip(np.asarray(picture), 0, 65535).astype(np.uint16)
        return deep
    return np.asarray(picture.convert("L" if picture.mode in ("1", "L", "LA") else "RGB"), dtype=np.uint8)


def _no_picture(row: Row, got: str) -> InputError:
    return InputError(f"label table, row {row.number}", expected="a picture", got=got, do="Correct or remove the row.")


def hard(mask: Pixels, row: Row) -> Pixels:
    """A mask's pixels: where the brightest is white, 255 where at least half of it, else 0; else as they are, numbers
    of structures. Raises InputError naming the row."""
    if mask.ndim == 3 and not (mask == mask[..., :1]).all():
        raise InputError(f"label table, row {row.number}", expected="a mask in grey", got="one in colour")
    grey = mask[..., 0] if mask.ndim == 3 else mask
    soft = grey.dtype == np.uint8 and grey.max(initial=0) == WHITE
    return np.ascontiguousarray(np.where(grey > WHITE // 2, np.uint8(WHITE), np.uint8(0)) if soft else grey)


def _masks_of(arrays: Mapping[str, NDArray[Any]], path: Path) -> list[NDArray[np.uint8]]:
    """The masks of all pictures, in their order; [] if there are none."""
    pairs = [(name, name.removesuffix("images") + "masks") for name in arrays if name.endswith("images")]
    pairs = [(name, masks) for name, masks in pairs if name.removesuffix("images") + "labels" in arrays]
    if not any(masks in arrays for _, masks in pairs):
        return []
    for name, masks in pairs:
        found = arrays.get(masks, np.zeros(0))
        if found.dtype.kind not in "bu" or found.dtype.itemsize > 1 or found.shape != arrays[name].shape[:3]:
            expected = f"an array {masks} {list(arrays[name].shape[:3])} of bool or uint8, as large as {name}"
            raise InputError(f"{path}", expected=expected, got=f"{found.dtype} {list(found.shape)}")
    drawn = [mask for _, masks in pairs for mask in arrays[masks]]
    return [mask.astype(np.uint8) * np.uint8(WHITE) if mask.dtype == np.bool_ else mask for mask in drawn]


def _file(path: Path, also: str = "") -> bytes:
    """The bytes of the table at `path`. Raises InputError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise no_table(path.name, (error.strerror or str(error)) + also) from None
