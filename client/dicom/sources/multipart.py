"""The parts of a multipart/related answer (PS3.18 8.6.1.2, RFC 2046 section 5.1.1), one after another, none in memory.

Guarantees: holds a chunk and a delimiter at most; a part is given out as chunks while it arrives; an answer that ends
before its closing delimiter, or has heads without end, raises BrokenError, so half an object is never taken for one.

    for part in parts(chunks, boundary_of(content_type)):
        store.keep(part)
"""

from collections.abc import Iterable, Iterator
from email.message import Message

#: Bytes of a part's head.
LONGEST_HEAD = 1 << 16
MOST_BOUNDARY = 70  # RFC 2046 section 5.1.1
_MARK = b"\r\n--"


class BrokenError(Exception):
    """The answer is not multipart, or not all of it."""


def boundary_of(content_type: str) -> bytes:
    """The boundary named by a Content-Type. Raises BrokenError where it is no multipart/related or names none."""
    message = Message()
    message["Content-Type"] = content_type.replace("\r", "").replace("\n", "")
    boundary = message.get_boundary("")
    if message.get_content_type() != "multipart/related" or not 0 < len(boundary) <= MOST_BOUNDARY:
        raise BrokenError
    if not boundary.isascii():
        raise BrokenError
    return boundary.encode()


def parts(chunks: Iterable[bytes], boundary: bytes) -> Iterator[Iterator[bytes]]:
    """The contents of the parts. Each must be read before the next is asked for; what is left of it is passed over.
    Raises BrokenError, and whatever `chunks` raises."""
    reader = _Reader(iter(chunks), _MARK + boundary)
    _drain(reader.part())  # the preamble, mostly empty
    while reader.begins():
        part = reader.part()
        yield part
        _drain(part)


def _drain(part: Iterator[bytes]) -> None:
    for _ in part:
        pass


class _Reader:
    def __init__(self, chunks: Iterator[bytes], delimiter: bytes) -> None:
        self._chunks, self._delimiter = chunks, delimiter
        self._data = b"\r\n"  # the first delimiter may be the first line

    def begins(self) -> bool:
        """Behind a delimiter: step over the head of the next part. False at the closing delimiter."""
        while len(self._data) < 2:
            self._more()
        if self._data.startswith(b"--"):
            return False
        # the delimiter's own line end may be the head's end: a part without header fields
        while (end := self._data.find(b"\r\n\r\n")) < 0:
            if len(self._data) >= LONGEST_HEAD + 4:
                raise BrokenError
            self._more()
        if end > LONGEST_HEAD:  # however it arrived
            raise BrokenError
        self._data = self._data[end + 4 :]
        return True

    def part(self) -> Iterator[bytes]:
        """Chunks up to the next delimiter, which is passed over."""
        keep = len(self._delimiter) - 1
        while (end := self._data.find(self._delimiter)) < 0:
            if len(self._data) > keep:
                chunk, self._data = self._data[:-keep], self._data[-keep:]
                yield chunk
            self._more()
        chunk, self._data = self._data[:end], self._data[end + len(self._delimiter) :]
        if chunk:
            yield chunk

    def _more(self) -> None:
        chunk = next(self._chunks, None)
        if chunk is None:
            raise BrokenError
        self._data += chunk
