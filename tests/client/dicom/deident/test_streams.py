"""Comments in compressed streams: overwritten, with the pixels as they were."""

import io
import struct

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.encaps import encapsulate, generate_frames

from client.dicom.deident.streams import without_comments
from client.dicom.reasons import LeftOutError, Reason

BASELINE, LOSSLESS_LS, LOSSLESS_2000, RLE = (f"1.2.840.10008.1.2.{number}" for number in ("4.50", "4.80", "4.90", "5"))
GEHEIM = b"Muster, Erika"


def picture() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (32, 40), dtype=np.uint8)


def jpeg() -> bytes:
    exif = Image.Exif()
    exif[0x010E] = GEHEIM.decode()  # ImageDescription
    file = io.BytesIO()
    Image.fromarray(picture()).save(file, "JPEG", quality=90, exif=exif, comment=GEHEIM, progressive=True)
    return file.getvalue()


def jpeg_2000(*, boxed: bool) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture()).save(file, "JPEG2000", no_jp2=not boxed, comment=GEHEIM, irreversible=False)
    data = file.getvalue()
    box = struct.pack(">I4s", 8 + len(GEHEIM), b"xml ") + GEHEIM
    return data + box if boxed else data


def decoded(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data)))


def one_frame(value: bytes) -> bytes:
    return next(generate_frames(value, number_of_frames=1))


@pytest.mark.parametrize(
    ("data", "syntax"),
    [(jpeg(), BASELINE), (jpeg_2000(boxed=False), LOSSLESS_2000), (jpeg_2000(boxed=True), LOSSLESS_2000)],
    ids=["JPEG", "JPEG 2000", "JP2"],
)
@pytest.mark.parametrize("fragments", [1, 7])
def test_comments_go_and_pixels_stay(data: bytes, syntax: str, fragments: int) -> None:
    value = encapsulate([data], fragments_per_frame=fragments)
    assert GEHEIM in data
    result = without_comments(value, syntax)
    assert len(result) == len(value)
    assert GEHEIM not in one_frame(result)
    np.testing.assert_array_equal(decoded(one_frame(result)), decoded(data))


def test_what_follows_the_end_of_a_picture_goes() -> None:
    value = encapsulate([jpeg() + GEHEIM + b"\0"])
    assert GEHEIM not in without_comments(value, BASELINE)
    value = encapsulate([jpeg_2000(boxed=False) + GEHEIM])
    assert GEHEIM not in without_comments(value, LOSSLESS_2000)


def test_every_frame_is_seen_to() -> None:
    value = encapsulate([jpeg(), jpeg(), jpeg()])
    result = without_comments(value, BASELINE)
    assert GEHEIM not in result
    frames = list(generate_frames(result, number_of_frames=3))
    assert len(frames) == 3
    for frame in frames:
        np.testing.assert_array_equal(decoded(frame), decoded(jpeg()))


def test_colour_transforms_that_decoders_need_stay() -> None:
    file = io.BytesIO()
    Image.fromarray(np.dstack([picture()] * 4), "CMYK").save(file, "JPEG")  # with an Adobe segment
    value = encapsulate([file.getvalue()])
    assert b"Adobe" in without_comments(value, BASELINE)


def test_streams_that_hold_nothing_but_pixels_are_not_touched() -> None:
    value = encapsulate([b"\x01\x00\x00\x00" + b"anything"])
    assert without_comments(value, RLE) == value


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.94", "1.2.3"])
def test_video_and_unknown_streams_are_left_out(syntax: str) -> None:
    with pytest.raises(LeftOutError) as error:
        without_comments(encapsulate([b"anything"]), syntax)
    assert error.value.reason is Reason.UNSUPPORTED_SYNTAX


@pytest.mark.parametrize("syntax", [BASELINE, LOSSLESS_LS, LOSSLESS_2000])
@pytest.mark.parametrize("data", [GEHEIM, b"\xff", b"", b"\xff\xd8\xff\xfe", b"\xff\x4f\xff\x51"])
def test_what_is_no_stream_is_left_out_or_empty(syntax: str, data: bytes) -> None:
    try:
        result = without_comments(encapsulate([data]) if data else b"", syntax)
    except LeftOutError as error:
        assert error.reason is Reason.DECODE_FAILED
    else:
        assert GEHEIM not in result


def test_truncated_streams_end() -> None:
    for data, syntax in ((jpeg(), BASELINE), (jpeg_2000(boxed=False), LOSSLESS_2000)):
        for length in range(2, len(data), 37):
            try:
                without_comments(encapsulate([data[:length]]), syntax)
            except LeftOutError as error:
                assert error.reason is Reason.DECODE_FAILED
