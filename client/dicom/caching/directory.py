"""The directory of a file of rows: what each row holds, its checksum, and when it was last wanted.

Guarantees: row i is described by the 32 bytes at 32·i, so that a row is entered, or given up, by one small write that
touches no other; any bytes are a directory: a record that is torn, of another tensor or of another row is LOST, it is
never taken for whole and never raises.

    record: name 16 bytes · last use, s since 1970, u64 · CRC-32 of the row u32 · CRC-32 of these 28 bytes u32
    a free row: 32 zeros. All numbers little-endian.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

RECORD_BYTES = 32
FREE_RECORD = bytes(RECORD_BYTES)
#: Neither free nor a record: what becomes of a row that turned out damaged while somebody had it mapped.
LOST_RECORD = b"\xff" * RECORD_BYTES

_RECORD = struct.Struct("<16sQI")
_TYPE = np.dtype([("name", "V16"), ("used", "<u8"), ("check", "<u4"), ("seal", "<u4")])


class State(IntEnum):
    """Of a row. A LOST one may be mapped by somebody: it is free only once nobody has the file mapped."""

    FREE = 0
    HELD = 1
    LOST = 2


@dataclass(frozen=True)
class Directory:
    """What rows 0 … R−1 hold: `state` uint8 [R]; for HELD ones `name` (16 bytes each) [R], `used` (s since 1970) uint64
    [R] and `check` uint32 [R]."""

    state: NDArray[np.uint8]
    name: NDArray[np.void]
    used: NDArray[np.uint64]
    check: NDArray[np.uint32]

    def rows(self, *states: State) -> NDArray[np.int64]:
        """Rows in one of `states`, ascending."""
        return np.flatnonzero(np.isin(self.state, states))

    def places(self, names: Iterable[bytes]) -> dict[bytes, int]:
        """The row of each of `names` that is HELD."""
        wanted = set(names)
        held = self.rows(State.HELD)
        found = zip(self.name[held].tolist(), held.tolist(), strict=True)
        return {name: row for name, row in found if name in wanted}


def read_directory(seed: int, data: bytes) -> Directory:
    """The directory in `data`; what is left at its end and makes no whole record is not looked at."""
    records = np.frombuffer(data, _TYPE, count=len(data) // RECORD_BYTES)
    state = np.fromiter(_states(seed, memoryview(data)), np.uint8, count=len(records))
    return Directory(state, records["name"], records["used"], records["check"])


def _states(seed: int, data: memoryview) -> Iterator[int]:
    for row in range(len(data) // RECORD_BYTES):
        record = data[row * RECORD_BYTES : (row + 1) * RECORD_BYTES]
        if int.from_bytes(record[28:], "little") == _seal(seed, row, record[:28]):
            yield State.HELD
        else:
            yield State.FREE if record == FREE_RECORD else State.LOST


def record_of(seed: int, row: int, name: bytes, used: int, check: int) -> bytes:
    """The 32 bytes that enter `name` in `row` of the directory with `seed`, a number of the tensor."""
    fields = _RECORD.pack(name, used, check)
    return fields + _seal(seed, row, fields).to_bytes(4, "little")


def _seal(seed: int, row: int, fields: bytes | memoryview) -> int:
    """CRC-32 over the tensor's number, the row and the record. Against damage, not malice: the cache is the site's."""
    return zlib.crc32(fields, seed ^ (row * 0x9E3779B1 & 0xFFFFFFFF))
