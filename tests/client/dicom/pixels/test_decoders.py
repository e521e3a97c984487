import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit

from client.dicom.pixels import decoders
from client.dicom.pixels.codestream import described
from client.dicom.pixels.decoders import decode_frame
from client.dicom.pixels.layout import Layout
from client.dicom.pixels.syntaxes import DECODERS, LOSSLESS
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning.elements import PIXELS


def picture(rows: int, columns: int, samples: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(rows * columns)
    grid = np.mgrid[:rows, :columns]
    waves = [127 + 110 * np.sin(grid[1] / 5 + channel) * np.cos(grid[0] / 7) for channel in range(samples)]
    noisy = np.stack(waves, axis=-1) + rng.normal(0, 12, (rows, columns, samples))
    pixels = np.clip(noisy, 0, 255).astype(np.uint8)
    return pixels if samples == 3 else pixels[..., 0]


def jpeg(pixels: NDArray[np.uint8], **options: Any) -> tuple[bytes, Layout]:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **options)
    samples = 3 if pixels.ndim == 3 else 1
    rows, columns = pixels.shape[:2]
    photometric = "YBR_FULL_422" if samples == 3 else "MONOCHROME2"
    layout = Layout(
        JPEGBaseline8Bit, PIXELS, rows, columns, samples, photometric, False, 8, 8, 7, False, 1
    )  # fmt: skip
    return file.getvalue(), layout


def test_every_syntax_has_a_decoder() -> None:
    assert set(DECODERS.values()) - {""} <= decoders._BY_NAME.keys()
    assert {syntax for syntax, name in DECODERS.items() if name} >= LOSSLESS


@pytest.mark.parametrize("size", [(8, 8), (17, 33), (1, 2), (50, 3)])
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_pillow_gives_what_gdcm_gives(size: tuple[int, int], samples: int, subsampling: int, progressive: bool) -> None:
    for quality in (30, 95):
        options = {"subsampling": subsampling} if samples == 3 else {}
        data, layout = jpeg(picture(*size, samples), quality=quality, progressive=progressive, **options)
        one, other = decode_frame("pillow", data, layout), decode_frame("gdcm", data, layout)
        assert np.array_equal(one.cells, other.cells)


@pytest.mark.parametrize("transform", [0, 1])
def test_a_jpeg_of_adobe_is_left_to_gdcm(transform: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data, layout = jpeg(picture(16, 16, 3))
    marker = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([transform])
    adobe = data[:2] + marker + data[2:]
    assert described(adobe).adobe
    asked = []
    monkeypatch.setattr(decoders, "_gdcm", lambda data, layout: asked.append(data))
    decode_frame("pillow", data, layout)
    assert not asked
    decode_frame("pillow", adobe, layout)
    assert asked == [adobe]


def test_a_cut_jpeg_is_no_picture() -> None:
    data, layout = jpeg(picture(64, 64, 1))
    with pytest.raises(OSError, match="truncated"):
        decode_frame("pillow", data[: len(data) // 2], layout)


def test_twelve_bits_need_the_optional_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    data, layout = jpeg(picture(8, 8, 1))
    twelve = bytearray(data)
    twelve[data.index(b"\xff\xc0") + 4] = 12
    monkeypatch.setattr(decoders, "has_libjpeg", lambda: False)
    with pytest.raises(LeftOutError) as caught:
        decode_frame(DECODERS[JPEGExtended12Bit], bytes(twelve), layout)
    assert caught.value.reason is Reason.UNSUPPORTED_SYNTAX
