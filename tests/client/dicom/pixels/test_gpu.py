"""The checking logic, with a decoder that is right and several that are not: there is no card here."""

import logging
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from pydicom.uid import JPEG2000, JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from client.dicom.pixels import decoders, gpu
from client.dicom.pixels.gpu import Checked, Fast, on_card
from client.dicom.pixels.layout import Layout
from client.dicom.pixels.native import Cells
from client.dicom.scanning.elements import PIXELS

RIGHT = np.arange(6, dtype=np.uint16).reshape(2, 3)
LAYOUT = Layout(JPEG2000Lossless, PIXELS, 2, 3, 1, "MONOCHROME2", False, 16, 12, 11, False, 1)


class Pinned:
    """The right values, and how often they were asked for."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> Cells:
        self.asked += 1
        return RIGHT


def failing(data: bytes, layout: Layout) -> Cells:
    raise OSError("no memory on the card")


def liar(change: Callable[[Cells], Cells]) -> Fast:
    return lambda data, layout: change(RIGHT)


def test_a_decoder_that_is_right_is_checked_once() -> None:
    checked, pinned = Checked(lambda data, layout: RIGHT.copy()), Pinned()
    for _ in range(3):
        assert np.array_equal(checked.decode(b"", LAYOUT, pinned), RIGHT)
    assert pinned.asked == 1
    checked.decode(b"", replace(LAYOUT, bits=16), pinned)  # another kind of frame is another question
    assert pinned.asked == 2


@pytest.mark.parametrize(
    "fast",
    [
        liar(lambda right: right.astype(np.uint16) + np.uint16(1)),
        liar(lambda right: right.astype(np.int16)),
        liar(lambda right: right.T),
        failing,
    ],
)
def test_one_that_is_not_is_never_asked_again(fast: Fast, caplog: pytest.LogCaptureFixture) -> None:
    calls = []

    def counted(data: bytes, layout: Layout) -> Cells:
        calls.append(layout)
        return fast(data, layout)

    checked, pinned = Checked(counted), Pinned()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert np.array_equal(checked.decode(b"", LAYOUT, pinned), RIGHT)
    assert (len(calls), pinned.asked) == (1, 3)
    assert len(caplog.records) == 1
    assert str(JPEG2000Lossless) in caplog.text


def test_a_later_failure_costs_that_frame_only() -> None:
    def moody(data: bytes, layout: Layout) -> Cells:
        if data:
            raise OSError
        return RIGHT.copy()

    checked, pinned = Checked(moody), Pinned()
    for data in (b"", b"broken", b""):
        assert np.array_equal(checked.decode(data, LAYOUT, pinned), RIGHT)
    assert pinned.asked == 2


def test_only_where_there_is_one_right_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Checked(lambda data, layout: RIGHT)
    monkeypatch.setattr(gpu, "_card", lambda: card)
    assert on_card(LAYOUT) is card
    for other in (JPEG2000, JPEGBaseline8Bit, RLELossless):
        assert on_card(replace(LAYOUT, syntax=other)) is None
    assert on_card(replace(LAYOUT, samples=3)) is None


def test_the_decoders_ask_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the door that stored_frame uses: a card that lies changes nothing."""
    import openjpeg.utils  # noqa: PLC0415

    data = bytes(openjpeg.utils.encode_array(np.resize(RIGHT, (64, 64)), bits_stored=12))
    layout = replace(LAYOUT, rows=64, columns=64)
    plain = decoders.decode_frame("openjpeg", data, layout)
    monkeypatch.setattr(gpu, "_card", lambda: Checked(lambda data, layout: np.zeros((64, 64), np.uint16)))
    assert np.array_equal(decoders.decode_frame("openjpeg", data, layout).cells, plain.cells)
