"""Every record class of the project, read from hostile bytes: one target each, found by walking the classes."""

from functools import partial
from pathlib import Path

from shared.wire import Record, digest, pack, unpack
from tests.fuzz.engine import Decoder, Target
from tests.fuzz.samples import all_records, full_name, sample

#: Ways to choose among the types that a field may have.
PICKS = 6


def record_targets() -> tuple[Target, ...]:
    """One target for each class."""
    return tuple(
        Target(f"record {full_name(cls)}", partial(_decoder, cls), 0.12, ("shared/wire.py",)) for cls in all_records()
    )


def _decoder(cls: type[Record], _: Path) -> Decoder:
    seeds = dict.fromkeys(pack(sample(cls, pick)) for pick in range(PICKS))
    return Decoder(partial(_read, cls), tuple(seeds), "msgpack")


def _read(cls: type[Record], data: bytes) -> None:
    """Decode; and encode and digest again, as whoever checks a signature does."""
    value = unpack(cls, data)
    digest("konsil/fuzz/v1", value)
    if unpack(cls, pack(value)) != value and b"\x7f" not in data and b"\xff" not in data:  # NaN is not itself
        raise AssertionError(f"{full_name(cls)} does not read back as written")
