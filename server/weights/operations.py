"""The operations of a pickle that torch archives are made of, read one after another: their names and arguments.

Formats: pickletools.opcodes of Python 3. Only those in `KNOWN` are read; any other byte ends the reading by its name.

    >>> [name for name, _ in operations(b"\\x80\\x02}.")]
    ['PROTO', 'EMPTY_DICT', 'STOP']
"""

import pickletools
import struct
from collections.abc import Iterator

#: Byte → name, and the format of its argument: of `struct`, or "lines", "long", or the format of a text's length and
#: "text".
KNOWN: dict[int, tuple[str, str]] = {
    0x80: ("PROTO", "<B"),
    0x95: ("FRAME", "<Q"),
    ord("."): ("STOP", ""),
    ord("("): ("MARK", ""),
    ord("q"): ("BINPUT", "<B"),
    ord("r"): ("LONG_BINPUT", "<I"),
    0x94: ("MEMOIZE", ""),
    ord("h"): ("BINGET", "<B"),
    ord("j"): ("LONG_BINGET", "<I"),
    ord("c"): ("GLOBAL", "lines"),
    0x93: ("STACK_GLOBAL", ""),
    ord("t"): ("TUPLE", ""),
    0x85: ("TUPLE1", ""),
    0x86: ("TUPLE2", ""),
    0x87: ("TUPLE3", ""),
    ord("a"): ("APPEND", ""),
    ord("e"): ("APPENDS", ""),
    ord("s"): ("SETITEM", ""),
    ord("u"): ("SETITEMS", ""),
    ord("Q"): ("BINPERSID", ""),
    0x81: ("NEWOBJ", ""),
    ord("b"): ("BUILD", ""),
    ord("R"): ("REDUCE", ""),
    ord("N"): ("NONE", ""),
    0x88: ("NEWTRUE", ""),
    0x89: ("NEWFALSE", ""),
    ord("}"): ("EMPTY_DICT", ""),
    ord("]"): ("EMPTY_LIST", ""),
    ord(")"): ("EMPTY_TUPLE", ""),
    ord("J"): ("BININT", "<i"),
    ord("K"): ("BININT1", "<B"),
    ord("M"): ("BININT2", "<H"),
    0x8A: ("LONG1", "long"),
    ord("G"): ("BINFLOAT", ">d"),
    ord("X"): ("BINUNICODE", "<Itext"),
    0x8C: ("SHORT_BINUNICODE", "<Btext"),
}
#: Bytes of a line that names something.
LINE = 1024


def operations(data: bytes) -> Iterator[tuple[str, int | float | str | None]]:
    """Names and arguments up to STOP. Raises ValueError for what is not known or torn."""
    at = 0
    while at < len(data):
        if data[at] not in KNOWN:
            raise ValueError(f"the pickle operation {_name(data[at])}")
        name, kind = KNOWN[data[at]]
        argument, at = _argument(data, at + 1, kind)
        yield name, argument
        if name == "STOP":
            return
    raise ValueError("a pickle that does not end")


def _argument(data: bytes, at: int, kind: str) -> tuple[int | float | str | None, int]:
    """The argument at `at`, and where it ends."""
    if not kind:
        return None, at
    if kind == "lines":
        module, middle = _line(data, at)
        name, end = _line(data, middle)
        return f"{module}.{name}", end
    if kind == "long":
        size = _number(data, at, "<B")
        return int.from_bytes(_bytes(data, at + 1, int(size)), "little", signed=True), at + 1 + int(size)
    form = kind.removesuffix("text")
    end = at + struct.calcsize(form)
    number = _number(data, at, form)
    if form == kind:
        return number, end
    return _bytes(data, end, int(number)).decode("utf-8"), end + int(number)


def _number(data: bytes, at: int, form: str) -> int | float:
    found: int | float = struct.unpack(form, _bytes(data, at, struct.calcsize(form)))[0]
    return found


def _bytes(data: bytes, at: int, size: int) -> bytes:
    if at + size > len(data):
        raise ValueError("a pickle that ends too early")
    return data[at : at + size]


def _line(data: bytes, at: int) -> tuple[str, int]:
    end = data.find(b"\n", at, at + LINE)
    if end < 0:
        raise ValueError("a name without an end")
    return data[at:end].decode("ascii"), end + 1


def _name(code: int) -> str:
    found = [opcode.name for opcode in pickletools.opcodes if opcode.code == chr(code)]
    return found[0] if found else f"0x{code:02x}"
