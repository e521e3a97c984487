"""How a Konsil message rides in a Flower message: one bytes value under one key, nothing else is read."""

from flwr.app import ConfigRecord, Message, RecordDict

_RECORD = "konsil"
_KEY = "message"


def wrap(data: bytes) -> RecordDict:
    """`data` as the content of a Flower message."""
    return RecordDict({_RECORD: ConfigRecord({_KEY: data})})


def open_message(message: Message) -> bytes | None:
    """The bytes in `message`; None if it holds none."""
    record = message.content.config_records.get(_RECORD)
    data = record.get(_KEY) if record is not None else None
    return data if isinstance(data, bytes) else None
