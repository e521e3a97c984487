"""Compressed pixels without the comments that encoders and cameras write between them.

These are COM and APPn segments of JPEG and JPEG-LS (EXIF with its owner and place, ITU-T T.81 B.2.4), COM of JPEG 2000
(T.800 A.9.2), boxes of JP2 with XML or UUID, and whatever follows the end of a picture.

Guarantees: overwritten, never cut, so that every length and offset table stays true and the pixels decode to the same
values; what is no stream of the syntax it claims raises.
"""

import re
import struct
from collections.abc import Iterator

from client.dicom.reasons import LeftOutError, Reason

_JPEG = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
_JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
_JPEG_2000 = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 92, 93, 201, 202, 203))
_PLAIN = (
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.1.98",
)  # RLE Lossless, Encapsulated Uncompressed: nothing but pixels

#: A marker among entropy-coded bytes: not stuffing (0xFF00; in JPEG-LS, 0xFF and a byte below 0x80), no restart.
_MARKER = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
#: JPEG segments that decoders need: JFIF without a thumbnail, Adobe's and HP's colour transforms.
_NEEDED = ((0xE0, b"JFIF\0", 14), (0xEE, b"Adobe", 12), (0xE8, b"mrfx", 5))
_JP2_TEXT = (b"xml ", b"uuid", b"uinf")

Span = tuple[int, int]


def without_comments(value: bytes, syntax: str) -> bytes:
    """The value of an encapsulated Pixel Data element (PS3.5 A.4) in transfer syntax `syntax`, comments overwritten.

    Raises LeftOutError: unsupported_syntax for video and other streams not known here, decode_failed for a stream that
    is none.
    """
    if syntax in _PLAIN:
        return value
    if syntax not in (*_JPEG, *_JPEG_LS, *_JPEG_2000):
        raise LeftOutError(Reason.UNSUPPORTED_SYNTAX)
    find = _jpeg2000_comments if syntax in _JPEG_2000 else _jpeg_comments
    output = bytearray(value)
    try:
        for fragments in _pictures(value):
            picture = b"".join(value[start:end] for start, end in fragments)
            for span in find(picture):
                _overwrite(output, fragments, span)
    except (struct.error, IndexError):
        raise LeftOutError(Reason.DECODE_FAILED) from None
    return bytes(output)


def _pictures(value: bytes) -> Iterator[list[Span]]:
    """The fragments of each picture, as places in `value`; a picture begins with the marker of its beginning."""
    picture: list[Span] = []
    for number, (start, end) in enumerate(_fragments(value)):
        if number == 0:
            continue  # the offset table
        if picture and value[start : start + 4].startswith((b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0c")):
            yield picture
            picture = []
        picture.append((start, end))
    if picture:
        yield picture


def _fragments(value: bytes) -> Iterator[Span]:
    place = 0
    while place + 8 <= len(value):
        group, element, length = struct.unpack_from("<HHI", value, place)
        if (group, element) != (0xFFFE, 0xE000):
            return
        yield place + 8, min(place + 8 + length, len(value))
        place += 8 + length


def _overwrite(output: bytearray, fragments: list[Span], span: Span) -> None:
    """Zeros in `span` of the picture made of `fragments`."""
    offset = 0
    for start, end in fragments:
        first, last = max(span[0] - offset, 0), min(span[1] - offset, end - start)
        if first < last:
            output[start + first : start + last] = bytes(last - first)
        offset += end - start


def _jpeg_comments(data: bytes) -> Iterator[Span]:
    """Contents of COM and APPn segments, and what follows the end of the image."""
    if data[0] != 0xFF or data[1] != _SOI:
        raise LeftOutError(Reason.DECODE_FAILED)
    place = 2
    while place < len(data):
        found = _MARKER.search(data, place)
        if found is None:
            return
        marker, place = data[found.end() - 1], found.end()
        if marker == _EOI:
            yield place, len(data)
            return
        length = struct.unpack_from(">H", data, place)[0]
        content, end = place + 2, place + max(length, 2)
        if marker == 0xFE or (0xE0 <= marker <= 0xEF and not _needed(marker, data[content:end])):
            yield content, end
        place = end


def _needed(marker: int, content: bytes) -> bool:
    return any(marker == one and content.startswith(start) and len(content) <= size for one, start, size in _NEEDED)


def _jpeg2000_comments(data: bytes) -> Iterator[Span]:
    """Contents of COM segments in the main and tile-part headers, text boxes around, and what follows the end."""
    start, end = 0, len(data)
    if data[4:8] == b"jP  ":
        yield from _text_boxes(data)
        start, end = _box(data, b"jp2c")
    if data[start : start + 2] != b"\xff\x4f":
        raise LeftOutError(Reason.DECODE_FAILED)
    place, tile_end = start + 2, 0
    while place + 4 <= end:
        marker, length = struct.unpack_from(">HH", data, place)
        if marker == 0xFFD9:  # EOC
            yield place + 2, end
            return
        if marker == 0xFF93:  # SOD: the samples of this tile-part
            if tile_end <= place:  # a tile-part that ends before it begins
                raise LeftOutError(Reason.DECODE_FAILED)
            place = tile_end
            continue
        if marker == 0xFF90:  # SOT: Psot, the length of the tile-part, 0: to the end (T.800 A.4.2)
            size = struct.unpack_from(">I", data, place + 6)[0]
            tile_end = place + size if size else end
        if marker == 0xFF64:  # COM: Rcom, then the text
            yield place + 6, place + 2 + length
        place += 2 + max(length, 2)


def _boxes(data: bytes) -> Iterator[tuple[bytes, Span]]:
    """Type and contents of the boxes of a JP2 file (T.800 I.4)."""
    place = 0
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        end = place + length if length >= 8 else len(data)
        yield kind, (place + 8, min(end, len(data)))
        place = end


def _text_boxes(data: bytes) -> Iterator[Span]:
    yield from (span for kind, span in _boxes(data) if kind in _JP2_TEXT)


def _box(data: bytes, wanted: bytes) -> Span:
    return next((span for kind, span in _boxes(data) if kind == wanted), (0, 0))
