"""How a Konsil message rides in a Flower message: its bytes in pieces under one key, nothing else is read.

Flower sends every value of a record in one request, but for arrays, which it cuts: so each piece is an array, and no
request is larger than a piece and its heading, however large the model (server/gate.py counts on it). Arrays are also
the one kind of value that Flower hashes without copying it twice.
"""

from flwr.app import Array, ArrayRecord, Message, RecordDict

#: Bytes of one piece; Flower would cut it again at 5 MiB.
PIECE = 4 << 20
_RECORD = "konsil"
_KIND = "konsil"


def wrap(data: bytes) -> RecordDict:
    """`data` as the content of a Flower message."""
    pieces = (data[start : start + PIECE] for start in range(0, len(data), PIECE))
    arrays = {f"{number:06d}": Array("uint8", (len(piece),), _KIND, piece) for number, piece in enumerate(pieces)}
    return RecordDict({_RECORD: ArrayRecord(arrays)})


def open_message(message: Message) -> bytes | None:
    """The bytes of `message`, which holds them no more; None if it held none."""
    record = message.content.pop(_RECORD, None)
    if not isinstance(record, ArrayRecord):
        return None
    return b"".join(record[name].data for name in sorted(record))
