"""The bytes of one value → text or numbers, as PS3.5 section 6.2 writes them; what is no value is absent.

Guarantees: never an exception, whatever the bytes; a number that is not finite, or written at a length no number
has, is absent; texts are stripped of their padding. Decimal strings longer than the 16 bytes that the standard allows
are read all the same: many devices write them.

    >>> decimals(b"0.5\\\\0.50000000000000001 ", 2), decimals(b"0.5", 2), integer(b" 7")
    ((0.5, 0.5), None, 7)
"""

import math
import struct
from typing import Literal

#: Longer than any number a device writes.
_LONGEST = 64
#: of an Integer String
_IS_DIGITS = 12

Order = Literal["little", "big"]


def text(value: bytes) -> str:
    """A text, without the spaces and zeros around it; what is not UTF-8 shows as replacement characters."""
    clean = value.strip(b"\0 ")
    return clean.decode("ascii") if clean.isascii() else clean.decode("utf-8", "replace")


def texts(value: bytes) -> tuple[str, ...]:
    """The values of a multi-valued text, stripped; ("",) for none."""
    return tuple(part.strip() for part in text(value).split("\\"))


def decimals(value: bytes, count: int) -> tuple[float, ...] | None:
    """Exactly `count` decimal strings; None for any other number of them, or one that is no finite number."""
    if not value:
        return None
    parts = value.split(b"\\")
    if len(parts) != count or len(value) > count * _LONGEST:
        return None
    try:
        numbers = tuple(map(float, parts)) if b"\0" not in value else tuple(float(part.strip(b"\0 ")) for part in parts)
    except ValueError:
        return None
    # float() also reads "nan", "inf" and, for Python's sake, "1_000"
    return numbers if all(map(math.isfinite, numbers)) and b"_" not in value else None


def decimal(value: bytes) -> float | None:
    """The first of one or more decimal strings."""
    found = decimals(value.split(b"\\", 1)[0], 1) if value else None
    return found[0] if found else None


def integer(value: bytes) -> int | None:
    """The first of one or more integer strings; "5.0", which some devices write, is 5."""
    number = decimal(value)
    return int(number) if number is not None and number.is_integer() and abs(number) < 10**_IS_DIGITS else None


def unsigned(value: bytes, order: Order) -> int:
    """The first of one or more unsigned shorts (US); 0 for none."""
    return int.from_bytes(value[:2], order)


def unsigned_long(value: bytes, order: Order) -> int | None:
    """One unsigned long (UL)."""
    return int.from_bytes(value, order) if len(value) == 4 else None


def double(value: bytes, order: Order) -> float | None:
    """One double (FD)."""
    if len(value) != 8:
        return None
    (number,) = struct.unpack("<d" if order == "little" else ">d", value)
    return float(number) if math.isfinite(number) else None


def year(value: bytes) -> int:
    """The year of a date (DA; the old form with points too); 0 for none."""
    digits = value.strip(b"\0 ")[:4]
    return int(digits) if len(digits) == 4 and digits.isdigit() else 0
