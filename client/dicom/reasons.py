"""Leaving an image out: the exception that carries one reason of the closed list in shared/reasons.py."""

from shared.reasons import Reason

__all__ = ["LeftOut", "Reason"]


class LeftOut(Exception):  # noqa: N818
    """Raised inside this room only: this image cannot be used, for `reason`. Never leaves client/dicom."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason
