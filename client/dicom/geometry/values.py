"""Raw values of a header → the values of a Frame, or None where they cannot be meant.

Guarantees: a point is three finite numbers; directions are unit vectors at right angles, to what three decimals round;
distances are positive. Nothing is repaired or guessed: a value that is wrong counts as absent, and rows and columns are
never swapped.
"""

import hashlib
import math
from collections.abc import Iterable

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from client.dicom.geometry.frame import PHASE, Directions, Point
from client.dicom.plain import plain
from client.dicom.reasons import LeftOutError, Reason

#: By which a vector's length may differ from 1 and a scalar product from 0: three decimals, as some PACSs keep.
_ROUNDING = 2e-3
#: mm; further away or larger is no patient.
_FARTHEST_MM = 1e5
#: of Rows and Columns, unsigned shorts
_LARGEST = 65535
#: of an Integer String
_IS_DIGITS = 12
#: Characters of a phase that are kept: an Image Type has hardly more, and a hostile one not a megabyte for each frame.
_LONGEST = 128


def matrix(dataset: Dataset) -> tuple[int, int]:
    """Rows and columns of the picture. Raises LeftOutError(unreadable) if they are not within 1 to 65,535."""
    rows, columns = whole(dataset.get("Rows")), whole(dataset.get("Columns"))
    if not (0 < rows <= _LARGEST and 0 < columns <= _LARGEST):
        raise LeftOutError(Reason.UNREADABLE)
    return rows, columns


def point(values: object) -> Point | None:
    """Image Position (Patient) (0020,0032), LPS mm. None unless three finite numbers of this world."""
    numbers = floats(values, 3)
    if numbers is None or max(map(abs, numbers)) > _FARTHEST_MM:
        return None
    return (numbers[0], numbers[1], numbers[2])


def directions(values: object) -> Directions | None:
    """Image Orientation (Patient) (0020,0037) with lengths of exactly 1. None unless the two vectors have length 1 and
    a right angle between them, rounding aside (PS3.3 C.7.6.2.1.1)."""
    numbers = floats(values, 6)
    if numbers is None:
        return None
    first, second = numbers[:3], numbers[3:]
    lengths = math.hypot(*first), math.hypot(*second)
    if max(abs(length - 1) for length in lengths) > _ROUNDING or abs(dot(first, second)) > _ROUNDING:
        return None
    x, y, z = (value / lengths[0] for value in first)
    u, v, w = (value / lengths[1] for value in second)
    return (x, y, z, u, v, w)


def spacing(*candidates: object) -> tuple[float, float] | None:
    """(distance of rows, distance of columns) in mm: the first candidate that is two positive numbers.

    To be given in the order of PS3.3 10.7.1.3: Pixel Spacing (0028,0030), which is in the patient; Imager Pixel Spacing
    (0018,1164), which is at the detector, larger than in the patient by the magnification; Nominal Scanned Pixel
    Spacing (0018,2010). Never Slice Thickness, never Spacing Between Slices.
    """
    for candidate in candidates:
        numbers = floats(candidate, 2)
        if numbers is not None and min(numbers) > 0 and max(numbers) < _FARTHEST_MM:
            return (numbers[0], numbers[1])
    return None


def number(value: object) -> float | None:
    """A finite number, or None."""
    found = floats([value], 1)
    return None if found is None else found[0]


def whole(value: object) -> int:
    """An integer string's number; 0 for none, or one longer than the standard allows (PS3.5 section 6.2)."""
    found = number(value)
    return 0 if found is None or abs(found) >= 10**_IS_DIGITS else int(found)


def floats(values: object, count: int) -> tuple[float, ...] | None:
    """`count` finite numbers, or None."""
    if not isinstance(values, Iterable) or isinstance(values, (str, bytes)):
        return None
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None


def phase(**values: object) -> tuple[str, ...]:
    """`Frame.phase` of attributes given by their names in PHASE; several values are joined, None is unknown."""
    texts = tuple(_text(values.get(name))[:_LONGEST] for name in PHASE)
    return texts if any(texts) else ()


def phase_of(dataset: Dataset) -> tuple[str, ...]:
    """`Frame.phase` of an object that says all of it at the top: of one frame, or of a mosaic."""
    return phase(
        image_type=dataset.get("ImageType"),
        echo_time=dataset.get("EchoTime"),
        echo_number=dataset.get("EchoNumbers"),
        b_value=dataset.get("DiffusionBValue"),
        temporal=dataset.get("TemporalPositionIdentifier"),
        trigger=dataset.get("TriggerTime"),
        acquisition=dataset.get("AcquisitionNumber"),
        inversion_time=dataset.get("InversionTime"),
        flip_angle=dataset.get("FlipAngle"),
        acquisition_time=dataset.get("AcquisitionTime"),
        reference_time=dataset.get("FrameReferenceTime"),
        **apart_of(dataset),
    )


def apart_of(dataset: Dataset) -> dict[str, str]:
    """For `phase`, what is in APART, which every kind of object says at the top."""
    return {
        "frame_of_reference": reference(_text(dataset.get("FrameOfReferenceUID"))),
        "colour": colour(whole(dataset.get("SamplesPerPixel")), _text(dataset.get("PhotometricInterpretation"))),
    }


def reference(uid: str) -> str:
    """Eight hexadecimal digits that tell Frame of Reference UIDs (0020,0052) of one series apart, for a UID leads to a
    patient and is kept nowhere; empty for none."""
    plain = uid.strip("\0 ")
    return hashlib.sha256(plain.encode("utf-8", "replace")).hexdigest()[:8] if plain else ""


def colour(samples: int, photometric: str) -> str:
    """Whether a pixel is a colour (PS3.3 C.7.6.3.1.2): of several samples, or from a palette."""
    return "colour" if samples > 1 or photometric == "PALETTE COLOR" else ""


def _text(value: object) -> str:
    if value is None or isinstance(value, str):
        return (value or "").strip()
    if isinstance(value, Iterable) and not isinstance(value, Dataset | Sequence):
        return "\\".join(_text(part) for part in value)
    return f"{float(value):.9g}" if isinstance(value, (int, float)) else plain(value).strip()


def dot(first: Iterable[float], second: Iterable[float]) -> float:
    """The scalar product."""
    return sum(a * b for a, b in zip(first, second, strict=True))


def normal_of(orientation: Directions) -> Point:
    """Row direction × column direction: with the slices' positions it orders them."""
    x, y, z, u, v, w = orientation
    return (y * w - z * v, z * u - x * w, x * v - y * u)


def moved(start: Point, *moves: tuple[float, Iterable[float]]) -> Point:
    """`start` + Σ length × direction."""
    x, y, z = start
    for length, (u, v, w) in moves:
        x, y, z = x + length * u, y + length * v, z + length * w
    return (x, y, z)
