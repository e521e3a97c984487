"""Pictures with a table of labels, one by one: from a folder, a zip of one, or the arrays of an NPZ file.

Guarantees: a path in the table reaches nothing outside the folder or zip; nothing is unpacked to disk or unpickled;
every row is one picture, or an InputError that names the row (never the patient).
"""

import csv
import io
import lzma
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from client.dicom.scanning.header import MALFORMED
from shared.errors import InputError

#: No picture of a study unpacks to more.
MEMBER_LIMIT = 1 << 29

#: Digits of a number of pictures or of years.
MOST_DIGITS = 9
#: What zipfile, numpy and Pillow raise on bytes that are not what they say.
_BROKEN = (*MALFORMED, OSError, SyntaxError, zipfile.BadZipFile, lzma.LZMAError)

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True)
class Row:
    """A line of the table; `number` counts from 1 below the header, `sex` is M, F, O or empty, `age` in years."""

    number: int
    image: str = field(repr=False)
    patient: str = field(repr=False)
    label: str
    sex: str
    age: int | None


class Pictures(Protocol):
    """A source of pictures."""

    def rows(self) -> tuple[Row, ...]:
        """Its table."""

    def pixels(self, row: Row) -> Pixels:
        """[rows, columns] grey or [rows, columns, 3] RGB. Raises InputError naming the row."""


class Folder:
    """Pictures in `folder`, the table in the file `labels`; paths are relative to the table or the folder."""

    def __init__(self, folder: Path, labels: Path) -> None:
        self._roots = (labels.parent.resolve(), folder.resolve())
        self._labels = labels

    def rows(self) -> tuple[Row, ...]:
        """Its table."""
        try:
            return _table(self._labels.read_bytes(), self._labels.name)
        except OSError as error:
            raise _no_table(self._labels.name, error.strerror or str(error)) from None

    def pixels(self, row: Row) -> Pixels:
        """The picture of `row`."""
        try:
            for root in self._roots:
                path = (root / row.image).resolve()
                if path.is_file() and any(path.is_relative_to(each) for each in self._roots):
                    return _picture(path.read_bytes(), row)
        except (OSError, ValueError) as error:  # a name too long, or with a NUL
            raise _no_picture(row, f"a path that cannot be read ({type(error).__name__})") from None
        raise _no_picture(row, "no such file beside the table or in the folder")


class Zip:
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

    def rows(self) -> tuple[Row, ...]:
        """Its table."""
        if self._labels in self._members:
            return _table(self._read(self._labels), self._labels)
        try:
            return _table(Path(self._labels).read_bytes(), self._labels)
        except OSError as error:
            raise _no_table(self._labels, f"{error.strerror}, and no member of the zip has this name") from None

    def pixels(self, row: Row) -> Pixels:
        """The picture of `row`; its path is relative to the table or to the zip's root."""
        for name in (str(PurePosixPath(self._labels).parent / row.image), row.image):
            if name in self._members:
                return _picture(self._read(name), row)
        raise _no_picture(row, "no such member of the zip")

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
    pairs (`train_images`, `train_labels`, ...), one after the other. Without a table every picture is its own
    patient; a table's `image` is the number of the picture, from 0."""

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
        self._known = [str(label[0]) for _, labels in pairs for label in labels]
        self._labels = labels

    def rows(self) -> tuple[Row, ...]:
        """Its table."""
        if self._labels is None:
            return tuple(Row(n + 1, str(n), str(n), label, "", None) for n, label in enumerate(self._known))
        try:
            return _table(self._labels.read_bytes(), self._labels.name, self._known)
        except OSError as error:
            raise _no_table(self._labels.name, error.strerror or str(error)) from None

    def pixels(self, row: Row) -> Pixels:
        """The picture of `row`."""
        if not _is_number(row.image) or int(row.image) >= len(self._images):
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


def _table(data: bytes, source: str, known: list[str] | None = None) -> tuple[Row, ...]:
    """The rows of a CSV; `known` labels of numbered pictures fill in where the table has no label column."""
    try:
        table = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        names = {name.strip().lower(): name for name in table.fieldnames or ()}
        lacking = [name for name in ("image", "label") if name not in names and not (name == "label" and known)]
        if lacking:
            got = ", ".join(names) or "no header line"
            raise _no_table(source, got, f"columns image and label; {' and '.join(lacking)} is missing")
        rows = tuple(_row(number, line, names, known) for number, line in enumerate(table, start=1))
    except (UnicodeDecodeError, csv.Error) as error:
        raise _no_table(source, type(error).__name__) from None
    seen: set[str] = set()
    for row in rows:
        if row.image in seen:
            raise InputError(
                f"{source}, row {row.number}", expected="a picture once", got="one of an earlier row again"
            )
        seen.add(row.image)
    return rows


def _row(number: int, line: Mapping[str, str | None], names: Mapping[str, str], known: list[str] | None) -> Row:
    cell = {name: (line[original] or "").strip() for name, original in names.items()}
    image = cell["image"]
    label = cell.get("label", "")
    if not label and known and _is_number(image) and int(image) < len(known):
        label = known[int(image)]
    if not image or not label:
        raise InputError(f"label table, row {number}", expected="an image and a label", got="an empty cell")
    sex = cell.get("sex", "").upper()[:1]
    age = cell.get("age", "").partition(".")[0]
    return Row(
        number,
        image,
        cell.get("patient_id") or image,
        label,
        sex if sex in ("M", "F", "O") else "",
        int(age) if _is_number(age) and int(age) < 1000 else None,
    )


def _is_number(text: str) -> bool:
    """Whether `text` is a whole number that is not absurd."""
    return text.isdecimal() and len(text) <= MOST_DIGITS


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


def _no_table(source: str, got: str, expected: str = "a readable CSV file in UTF-8") -> InputError:
    return InputError(f"label table {source}", expected=expected, got=got, do="Name the table with --labels.")
