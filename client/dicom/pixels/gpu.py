"""Decoding on a graphics card, through nvImageCodec, where it is installed and there is a card.

Guarantees: the values are those of the pinned decoder. Only grey frames of lossless syntaxes are tried, because only
there is one right answer; the first frame of each kind is decoded twice, and the card is not used again for that kind
if it disagrees or fails, with a warning that says so. A frame it fails on later goes to the pinned decoder.

Not exercised on a card so far: what is tested is that a decoder that lies is found out.
"""

import functools
import importlib
import importlib.util
import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from client.dicom.pixels.layout import Layout
from client.dicom.pixels.native import Cells
from client.dicom.pixels.syntaxes import DEFLATED_FRAMES, LOSSLESS

#: bytes of a compressed frame → [rows, columns]
Fast = Callable[[bytes, Layout], Cells]

_LOG = logging.getLogger(__name__)

#: What JPEG 2000 and lossless JPEG on the card cover; RLE, JPEG-LS and deflated frames have no decoder there.
SYNTAXES = LOSSLESS - {DEFLATED_FRAMES, "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80"}


class Checked:
    """A fast decoder under probation, one verdict for each kind of frame: syntax, bits, sign."""

    def __init__(self, fast: Fast) -> None:
        self._fast = fast
        self._trusted: dict[tuple[object, ...], bool] = {}

    def decode(self, data: bytes, layout: Layout, pinned: Callable[[], Cells]) -> Cells:
        """The frame in `data`, always with the values that `pinned` gives. Raises what `pinned` raises."""
        kind = (layout.syntax, layout.allocated, layout.bits, layout.signed)
        trusted = self._trusted.get(kind)
        if trusted is False:
            return pinned()
        found = self._tried(data, layout)
        if trusted and found is not None:
            return found
        right = pinned()
        if trusted is None:
            self._trusted[kind] = found is not None and found.dtype == right.dtype and np.array_equal(found, right)
            if not self._trusted[kind]:
                _LOG.warning("graphics card: other pixels than the pinned decoder's in %s; not used there", kind[0])
        return right

    def _tried(self, data: bytes, layout: Layout) -> Cells | None:
        try:
            found = self._fast(data, layout)
        except Exception:  # noqa: BLE001 - a library we do not pin; whatever it says, the pinned decoder decides
            return None
        return found if found.shape == (layout.rows, layout.columns) else None


def on_card(layout: Layout) -> Checked | None:
    """The decoder to try for frames of `layout`, or None."""
    return _card() if layout.syntax in SYNTAXES and layout.samples == 1 else None


@functools.cache
def _card() -> Checked | None:
    """nvImageCodec, if it can be imported and finds a card."""
    if importlib.util.find_spec("nvidia") is None or importlib.util.find_spec("nvidia.nvimgcodec") is None:
        return None
    try:
        library: Any = importlib.import_module("nvidia.nvimgcodec")
        decoder = library.Decoder()
        params = library.DecodeParams(allow_any_depth=True, color_spec=library.ColorSpec.UNCHANGED)
    except (ImportError, RuntimeError, AttributeError):  # no driver, no card, another version
        return None

    def decode(data: bytes, layout: Layout) -> Cells:
        # [rows, columns, 1] on the card -> [rows, columns] here
        cells = np.ascontiguousarray(decoder.decode(data, params=params).cpu())
        kind = f"{'i' if layout.signed else 'u'}{cells.dtype.itemsize}"
        return cells.view(kind).reshape(layout.rows, layout.columns)

    return Checked(decode)
