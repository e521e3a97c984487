"""Leaving an image out: the exception that carries one reason of the closed list in shared/reasons.py."""

from shared.reasons import Reason

__all__ = ["LeftOutError", "Reason"]


class LeftOutError(Exception):
    """Raised inside this room only: this image cannot be used, for `reason`. Never leaves client/dicom."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason
