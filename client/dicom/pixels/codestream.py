"""What a compressed frame says of itself, before any decoder sees it: JPEG and JPEG-LS (ISO/IEC 10918-1 B.2.2, ISO/IEC
14495-1 C.2.2), JPEG 2000 and HTJ2K (ISO/IEC 15444-1 A.5.1).

Guarantees: `described` reads a few bytes and allocates nothing; a frame whose size is not the one of the header is
found here, so that no decoder is made to allocate what a hostile codestream asks for.
"""

import struct
from dataclasses import dataclass

_BIG = struct.Struct(">H").unpack_from
_SIZ = struct.Struct(">IIII").unpack_from

#: SOF markers: every JPEG process, and JPEG-LS; not DHT, JPG and DAC, whose codes lie between
_FRAMES = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_JP2 = b"\0\0\0\x0cjP  "


@dataclass(frozen=True)
class Codestream:
    """`precision`: bits of a sample; `signed`: only JPEG 2000 says so; `ids`: JPEG's names of the components; `jfif`:
    has that marker, which means YCbCr where there are three; `adobe`: has that one, which may mean anything."""

    rows: int
    columns: int
    components: int
    precision: int
    signed: bool = False
    ids: tuple[int, ...] = ()
    jfif: bool = False
    adobe: bool = False


def described(data: bytes) -> Codestream:
    """The first frame header in `data`. Raises ValueError if there is none."""
    try:
        return _jpeg(data) if data[:2] == b"\xff\xd8" else _jpeg2000(data)
    except (struct.error, IndexError):
        raise ValueError("a codestream that ends before it says its size") from None


def _jpeg(data: bytes) -> Codestream:
    position, names = 2, set[bytes]()
    while True:
        if data[position] != 0xFF:
            raise ValueError("a JPEG marker")
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker in _FRAMES:
            break
        if 0xE0 <= marker <= 0xEF:  # APPn
            names.add(data[position + 4 : position + 8])
        position += 2 + _BIG(data, position + 2)[0]
    components = data[position + 9]
    return Codestream(
        rows=_BIG(data, position + 5)[0],
        columns=_BIG(data, position + 7)[0],
        components=components,
        precision=data[position + 4],
        ids=tuple(data[position + 10 + 3 * number] for number in range(components)),
        jfif=b"JFIF" in names,
        adobe=b"Adob" in names,
    )


def _jpeg2000(data: bytes) -> Codestream:
    start = 0
    if data.startswith(_JP2):  # not conformant (PS3.5 A.4.4), but written; the codestream is in the box jp2c
        start = data.index(b"jp2c") + 4
    if data[start : start + 4] != b"\xff\x4f\xff\x51":
        raise ValueError("a JPEG or JPEG 2000 codestream")
    right, bottom, left, top = _SIZ(data, start + 8)
    depth = data[start + 42]
    return Codestream(
        rows=bottom - top,
        columns=right - left,
        components=_BIG(data, start + 40)[0],
        precision=(depth & 0x7F) + 1,
        signed=bool(depth & 0x80),
    )
