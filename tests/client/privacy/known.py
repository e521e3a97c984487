"""A stream whose words are chosen, to reach what chance reaches once in 2^64."""

import numpy as np

from client.privacy.stream import SecureStream, Words


class Known(SecureStream):
    """Gives `data`, then raises ValueError."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._data = data

    def fill(self, words: Words) -> None:
        words[:] = np.frombuffer(self._data[: words.nbytes], words.dtype)
        self._data = self._data[words.nbytes :]

    @property
    def left(self) -> int:
        return len(self._data)


class Silent(SecureStream):
    """Gives the words in the middle of every table, which stand for 0."""

    __slots__ = ()

    def fill(self, words: Words) -> None:
        words[:] = 0x8000 if words.dtype == np.uint16 else 0


def words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(8, "little") for number in numbers)
