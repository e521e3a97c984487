"""What the quality report makes of pixels, whatever they are: odd shapes, values that are no numbers."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client.dicom.quality.intensity import pooled
from client.dicom.quality.text import suspected_text
from client.dicom.quality.view import View, measure
from shared.wire import pack, unpack
from tests.fuzz.engine import Decoder, Target

_SPECIAL = np.array([0.0, 1.0, -1.0, 3e38, -3e38, 1e-45, 0.5, 65535.0], np.float32)


def _views(_: Path) -> Decoder:
    """Two bytes of shape, one of a kind, then values: of modality, mask and screen."""

    def read(data: bytes) -> None:
        rows, columns = (1 + data[0], 1 + data[1]) if len(data) > 2 else (1, 1)
        plane = np.resize(np.frombuffer(data[3:] or b"\0", np.uint8), (rows, columns))
        values = _values(plane, data[2] if len(data) > 2 else 0)
        shown = (plane / np.float32(255)).astype(np.float32)
        view = measure(values, plane % 7 == 0 if rows % 2 else plane < 256, shown, ("DX", "CT")[columns % 2])
        if unpack(View, pack(view)) != view:
            raise AssertionError("another view than was packed")
        pooled("DX", [view.points, view.points])
        suspected_text(plane)

    letters = np.zeros((60, 200), np.uint8)
    for at in range(20, 180, 9):
        letters[30:42, at : at + 2] = letters[30:32, at : at + 6] = 255
    ramp = np.arange(96 * 80, dtype=np.uint32).astype(np.uint8)
    seeds = (bytes([59, 199, 0]) + letters.tobytes(), bytes([95, 79, 1]) + ramp.tobytes(), bytes([0, 0, 2, 9]))
    return Decoder(read, seeds, "bytes", (b"\0" * 400, b"\xff" * 400, b"\0\xff" * 200), (), extra_mb=150, slow_s=5.0)


def _values(plane: NDArray[np.uint8], kind: int) -> NDArray[np.float32]:
    """Values of the modality as a decoder may give them; every one is a number."""
    if kind % 3 == 0:
        return plane.astype(np.float32)
    return _SPECIAL[plane % 8] if kind % 3 == 1 else plane.astype(np.float32) * 1e30


_QUALITY = "client/dicom/quality/"
QUALITY_TARGETS = (
    Target("quality of pixels", _views, 0.3, tuple(f"{_QUALITY}{name}.py" for name in ("view", "text", "intensity"))),
)
