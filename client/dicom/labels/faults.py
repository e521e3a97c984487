"""Why a mask is of no use: one fault from a closed list, told to the hospital in a report of what did not join."""

from enum import StrEnum
from typing import Self

from client.dicom.reasons import Reason


class MaskFault(StrEnum):
    """`explain` says it in words."""

    UNREADABLE = "unreadable"
    UNSUPPORTED = "unsupported"
    TOO_LARGE = "too_large"
    NO_SERIES = "no_series"
    NO_IMAGE = "no_image"
    NO_LABEL = "no_label"
    NO_GEOMETRY = "no_geometry"
    OTHER_FRAME = "other_frame"
    OTHER_PLANE = "other_plane"
    WRONG_SIZE = "wrong_size"

    @classmethod
    def of(cls, reason: Reason) -> Self:
        """The fault of a mask whose object, were it an image, would be left out for `reason`."""
        return cls(_OF_REASON.get(reason, "unreadable"))

    @property
    def explain(self) -> str:
        """The fault as a person would say it."""
        return _WORDS[self]


_WORDS = {
    MaskFault.UNREADABLE: "damaged, or not what it says it is",
    MaskFault.UNSUPPORTED: "of a kind Konsil does not read",
    MaskFault.TOO_LARGE: "larger than any mask, once unpacked",
    MaskFault.NO_SERIES: "drawn on a series that is not in the archive",
    MaskFault.NO_IMAGE: "does not speak of this image",
    MaskFault.NO_LABEL: "has no segment of this name",
    MaskFault.NO_GEOMETRY: "says not where in the patient it lies",
    MaskFault.OTHER_FRAME: "drawn in another frame of reference than the images",
    MaskFault.OTHER_PLANE: "drawn in planes oblique to the images",
    MaskFault.WRONG_SIZE: "of another size than the image",
}


_OF_REASON = {
    Reason.TOO_LARGE: "too_large",
    Reason.UNSUPPORTED_SYNTAX: "unsupported",
    Reason.UNSUPPORTED_PIXELS: "unsupported",
}


class MaskError(Exception):
    """Raised inside labels/ only: this mask cannot be used, for `fault`."""

    def __init__(self, fault: MaskFault) -> None:
        super().__init__(fault.value)
        self.fault = fault
