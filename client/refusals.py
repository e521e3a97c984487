"""How a hospital says no: to its own people in full, to outsiders without the inside of the house.

Guarantees: a refusal quotes at most LONGEST_PART characters of what came from outside; trouble of the house itself is
told without what was found, which may be a count, and without any path; what patients spent before is not told.
"""

import os
import traceback
from pathlib import Path

from msgspec.structs import replace

from shared.errors import KonsilError, PeerError, RefusalError, SiteError
from shared.messages.replies import Refused

#: Characters of each part of a refusal: it may quote what came from outside, at any length.
LONGEST_PART = 500
#: Rules whose refusals would tell what patients spent in earlier runs and studies, and so who was in them.
OF_PATIENTS = frozenset({"privacy.epsilon_total", "privacy.epsilon_per_study"})


def in_full(error: KonsilError, site: str) -> Refused:
    """`error` as the audit log keeps it."""
    found = Refused.of(error, site)
    parts = ("what", "expected", "got", "do", "rule", "site")
    return replace(found, **{name: short(getattr(found, name)) for name in parts})


def outwards(error: KonsilError, full: Refused) -> Refused:
    """`full` as it leaves: a peer's fault and the policy's no in full, trouble of this house without its insides."""
    if full.rule in OF_PATIENTS:
        return replace(full, got="more")
    if isinstance(error, PeerError | RefusalError):
        return full
    what, expected, do = ("" if os.sep in text else text for text in (full.what, full.expected, full.do))
    return Refused(what=what or "this hospital's files", expected=expected, got="", do=do, site=full.site)


def unforeseen(error: Exception) -> SiteError:
    """`error` by its kind and place: its text may hold anything, a patient's file name too."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return SiteError(
        "this hospital's Konsil",
        expected="to answer",
        got=f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}",
        do="Its audit log says where it failed.",
    )


def short(text: str) -> str:
    """`text`, cut at LONGEST_PART characters."""
    return text if len(text) <= LONGEST_PART else f"{text[: LONGEST_PART - 1]}…"
