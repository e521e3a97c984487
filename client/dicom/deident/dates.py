"""Dates of a patient shifted together, so that the time between them stays and the calendar does not.

Guarantees: all dates of one patient move back by the same number of whole weeks, 52 to 571, which follows from the key
and the patient alone; times of day and time zones stay (PS3.15 E.3.6, notes 2 to 4); a value that is no date of the
standard has no shifted value.

    >>> shifted("20240229", 52)
    '20230302'
"""

import hmac
import re
from datetime import date, timedelta

#: Timezone Offset From UTC goes with the times of day, which stay.
TIME_ZONE = 0x00080201
_DATE = re.compile(r"(\d{4})(?:\.?(\d{2})(?:\.?(\d{2}))?)?")
#: A date and time (PS3.5 6.2): the date, whatever is known of it; the time of day; the offset from UTC.
_DATE_TIME = re.compile(r"(\d{4}|\d{6}|\d{8})((?<=\d{8})\d{2,6}(?:\.\d{1,6})?)?([+-]\d{4})?")


def weeks_back(key: bytes, patient: bytes) -> int:
    """By how many weeks the dates of the patient whose keyed hash is `patient` move back."""
    digest = hmac.digest(key, b"konsil/deident/shift/v1\0" + patient, "sha256")
    return 52 + int.from_bytes(digest[:8], "big") % 520


def zone(value: str) -> str | None:
    """A time zone as it is (PS3.3 C.12.1.1.8: "+0100"); None if it is none."""
    return value if re.fullmatch(r"[+-]\d{4}", value) else None


def shifted(value: str, weeks: int) -> str | None:
    """A DA or DT value moved back by `weeks`, as precise as it was; None if it is none."""
    text = value.strip()
    whole = _DATE.fullmatch(text)
    if whole and "." in text:  # 2024.02.29, of ACR-NEMA (PS3.5 6.2, note to DA)
        text = text.replace(".", "")
    found = _DATE_TIME.fullmatch(text)
    if not found:
        return None
    digits, rest, zone = found[1], found[2] or "", found[3] or ""
    try:
        day = date(int(digits[:4]), int(digits[4:6] or 1), int(digits[6:8] or 1)) - timedelta(weeks=weeks)
    except (ValueError, OverflowError):  # the 31st of February; before the year 1
        return None
    return f"{day.year:04d}{day:%m%d}"[: len(digits)] + rest + zone
