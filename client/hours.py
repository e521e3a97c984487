"""Quiet hours: when this hospital's machines are its own and no new round begins.

Rules:
1. A span "HH:MM-HH:MM" begins on each of `days` and may run past midnight; its end is the first minute after it.
2. The clock is this host's, read in `zone` (a name of the IANA database; the host's own local time without one).
   Nothing that a message says moves it.

    >>> moment = datetime(2026, 3, 2, 9, 0, tzinfo=ZoneInfo("Europe/Berlin"))  # a Monday
    >>> quiet_until(HoursPolicy(quiet=("07:00-18:30",), zone="Europe/Berlin"), moment)
    '18:30'
"""

import re
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from shared.wire import Record

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SPAN = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-(?:([01]\d|2[0-3]):([0-5]\d)|24:00)")
_WHOLE_DAY = 24 * 60


class HoursPolicy(Record, frozen=True):
    """Spans in which no new round begins, the days they begin on, and the zone they are read in."""

    quiet: tuple[str, ...] = ()
    days: tuple[Day, ...] = DAYS
    zone: str = ""

    def __post_init__(self) -> None:
        for span in self.quiet:
            start, end = _minutes(span)
            if start == end:
                raise ValueError('a span that ends after it begins; "00:00-24:00" is the whole day')
        try:
            _zone(self.zone)
        except (KeyError, OSError, ValueError):  # a name that is none, or that looks like a path
            raise ValueError('a time zone of the IANA database, as "Europe/Berlin"') from None


def quiet_until(hours: HoursPolicy, now: datetime) -> str:
    """When the quiet span that holds `now` (aware) ends, "HH:MM"; empty if none holds it."""
    here = now.astimezone(_zone(hours.zone))
    minute = here.hour * 60 + here.minute
    for span in hours.quiet:
        start, end = _minutes(span)
        tonight = end <= start  # runs past midnight: its first part today, its second part tomorrow
        if _begins(hours, here) and start <= minute < (_WHOLE_DAY if tonight else end):
            return span[-5:]
        if tonight and _begins(hours, here - timedelta(days=1)) and minute < end:
            return span[-5:]
    return ""


def _begins(hours: HoursPolicy, day: datetime) -> bool:
    return DAYS[day.weekday()] in hours.days


def _zone(name: str) -> ZoneInfo | None:
    return ZoneInfo(name) if name else None


def _minutes(span: str) -> tuple[int, int]:
    """Minutes since midnight of a span's two ends."""
    found = _SPAN.fullmatch(span)
    if found is None:
        raise ValueError('spans as "07:00-18:30"')
    hour, minute, until_hour, until_minute = found.groups()
    end = _WHOLE_DAY if until_hour is None else int(until_hour) * 60 + int(until_minute)
    return int(hour) * 60 + int(minute), end
