"""A frame in colours: RGB, whatever it was coded in; or a palette's. No window: colours are shown as they are.

Ultrasound is not cropped to its regions (0018,6011): what stands around the fan is part of the picture.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from client.dicom.pixels.layout import PALETTE
from client.dicom.pixels.native import Cells
from client.dicom.pixels.palette import rgb_by_palette
from client.dicom.pixels.spacing import Spacing, spacing_of
from client.dicom.pixels.stored import Stored
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning.unusual import MALFORMED

#: Red, green and blue in luma (ITU-R BT.601, as JPEG and DICOM's YBR, PS3.3 C.7.6.3.1.2).
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True)
class Colour:
    """`rgb` [rows, columns, 3], whole numbers from 0 to `top`."""

    rgb: Cells = field(repr=False)
    top: int
    spacing: Spacing

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rgb.shape[0], self.rgb.shape[1]

    def shown(self, *, color: bool) -> NDArray[np.float32]:
        """float32 [3, rows, columns], or [1, rows, columns] by luma, in [0, 1]."""
        red, green, blue = (self._channel(channel) for channel in range(3))
        if color:
            return np.stack((red, green, blue))
        grey = red * LUMA[0]
        grey += green * LUMA[1]
        grey += blue * LUMA[2]
        luma: NDArray[np.float32] = grey[None]  # [1, rows, columns]
        return luma

    def _channel(self, channel: int) -> NDArray[np.float32]:
        values: NDArray[np.float32] = self.rgb[..., channel].astype(np.float32)
        values /= np.float32(self.top)
        return values


def colour_of(dataset: Dataset, frame: int, stored: Stored) -> Colour:
    """`stored`, frame `frame` of `dataset`, in colours. Raises LeftOutError."""
    layout = stored.layout
    try:
        if stored.photometric == PALETTE:
            rgb, top = rgb_by_palette(dataset, stored.values, signed=layout.signed)
            return Colour(rgb, top, spacing_of(dataset, frame))
        if stored.photometric == "RGB":
            return Colour(stored.values, (1 << layout.bits) - 1, spacing_of(dataset, frame))
    except (OSError, *MALFORMED):  # OSError: a sequence that ends before its items do
        raise LeftOutError(Reason.DECODE_FAILED) from None
    raise LeftOutError(Reason.UNSUPPORTED_PIXELS)
