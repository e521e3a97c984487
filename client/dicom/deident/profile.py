"""How an object is de-identified: the Basic Application Level Confidentiality Profile and its options (PS3.15 E.2, 3).

Guarantees: options that contradict each other are refused; what a profile claims in (0012,0064) is what it does, and
nothing about pixels: Clean Pixel Data and Clean Recognizable Visual Features are never claimed.

    >>> Profile.of("uids", "modified-dates").temporal
    'MODIFIED'
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from shared.errors import InputError


class Option(StrEnum):
    """An option of PS3.15 E.3. Those of RETAIN keep what the Basic Profile removes; those of CLEAN say that what they
    name was cleaned."""

    UIDS = "uids"
    DEVICE = "device"
    INSTITUTION = "institution"
    PATIENT = "patient"
    FULL_DATES = "full-dates"
    MODIFIED_DATES = "modified-dates"
    SAFE_PRIVATE = "safe-private"
    DESCRIPTORS = "descriptors"
    STRUCTURED = "structured-content"
    GRAPHICS = "graphics"


CLEAN = (Option.DESCRIPTORS, Option.STRUCTURED, Option.GRAPHICS)
RETAIN = tuple(option for option in Option if option not in CLEAN)

#: Code value and meaning of the Basic Profile, then of each option: CID 7050 (PS3.16), coding scheme DCM.
BASIC_CODE = ("113100", "Basic Application Confidentiality Profile")
CODES: Mapping[Option, tuple[str, str]] = {
    Option.GRAPHICS: ("113103", "Clean Graphics Option"),
    Option.STRUCTURED: ("113104", "Clean Structured Content Option"),
    Option.DESCRIPTORS: ("113105", "Clean Descriptors Option"),
    Option.FULL_DATES: ("113106", "Retain Longitudinal Temporal Information Full Dates Option"),
    Option.MODIFIED_DATES: ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    Option.PATIENT: ("113108", "Retain Patient Characteristics Option"),
    Option.DEVICE: ("113109", "Retain Device Identity Option"),
    Option.UIDS: ("113110", "Retain UIDs Option"),
    Option.SAFE_PRIVATE: ("113111", "Retain Safe Private Option"),
    Option.INSTITUTION: ("113112", "Retain Institution Identity Option"),
}


@dataclass(frozen=True)
class Profile:
    """The Basic Profile with `options`. Raises InputError if two of them contradict each other."""

    options: frozenset[Option] = frozenset()

    def __post_init__(self) -> None:
        if {Option.FULL_DATES, Option.MODIFIED_DATES} <= self.options:
            raise InputError(
                "de-identification options",
                expected="full-dates or modified-dates",
                got="both",
                do="Dates are kept as they are or shifted: choose one.",
            )

    @classmethod
    def of(cls, *names: str) -> Self:
        """The profile with the options of these names. Raises InputError for a name that is none."""
        known = {option.value: option for option in Option}
        for name in names:
            if name not in known:
                raise InputError("de-identification option", expected=", ".join(known), got=repr(name))
        return cls(frozenset(known[name] for name in names))

    @property
    def temporal(self) -> str:
        """The value of Longitudinal Temporal Information Modified (0028,0303), after PS3.15 E.2 and E.3.6."""
        if Option.FULL_DATES in self.options:
            return "UNMODIFIED"
        return "MODIFIED" if Option.MODIFIED_DATES in self.options else "REMOVED"

    @property
    def codes(self) -> tuple[tuple[str, str], ...]:
        """Code value and meaning of what this profile claims, for (0012,0064)."""
        return BASIC_CODE, *(code for option, code in CODES.items() if option in self.options)
