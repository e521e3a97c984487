"""Valid values to begin from, the same on every machine: keys from a counter instead of the system's random source, and
one value of any record class, made from its declared types."""

import hashlib
import importlib
import itertools
import pkgutil
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime
from functools import cache
from types import ModuleType
from typing import Any
from unittest.mock import patch

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from msgspec import inspect

import client
import server
import shared
from client.dicom.sources.config import Filter, Listen, Web
from client.ledger.listed import Entry, Listed
from shared.study import MINIMAL, Evaluation, Model, Privacy, Study, Task, Training, parse_study
from shared.wire import Record

#: A study with a model of a few weights, so that a step and a model fit an input.
STUDY_TEXT = MINIMAL.replace(
    'name = "cnn"', 'name = "cnn"\noptions = { blocks = 1, width = 1, hidden = 0, groups = 1 }'
)
STUDY = parse_study(STUDY_TEXT)
#: Values for texts with a pattern, tried in order.
_TEXTS = (
    "a", "DX", "0" * 64, "0" * 128, "0" * 32, "localhost:9092", "ecdsa-sha2-nistp256 AAAA",
    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "",
)  # fmt: skip
ENTRY = Entry(study="a", at=date(2024, 5, 1), everyone=True, epsilon=1.5, delta=1e-6)
#: Classes whose fields must fit each other.
_WHOLE: dict[type, Any] = {
    Study: STUDY, Task: STUDY.task, Training: STUDY.training,
    Web: Web(name="a", url="https://a/rs"), Listen: Listen(host="a", calling=("A",), peers=("10.0.0.0/8",)),
    Privacy: Privacy(mode="local", epsilon=8.0, delta=1e-5, clip=1.0, sampling_rate=0.5),
    Model: Model(name="cnn", init="a.safetensors", init_sha256="0" * 64, frozen=("blocks",)),
    Evaluation: Evaluation(epsilon=1.0, delta=1e-5),
    Entry: ENTRY, Listed: Listed(version=1, spent=(ENTRY,)),
    Filter: Filter(modalities=("CT",), study_from=date(2020, 1, 1), description="CT*"),
}  # fmt: skip
#: Programs: importing them is running them, or needs what only Flower gives.
_PROGRAMS = {"server.web.__main__", "client.agent_main", "server.app", "client.node"}


def all_records() -> tuple[type[Record], ...]:
    """Every record class that crosses a process, is stored or is signed, by name; bases that others grow from too."""
    for room in (client, server, shared):
        for name in _modules(room):
            importlib.import_module(name)
    found, waiting = set[type[Record]](), [Record]
    while waiting:
        for cls in waiting.pop().__subclasses__():
            waiting.append(cls)
            if cls.__module__.split(".")[0] in ("client", "server", "shared"):
                found.add(cls)
    return tuple(sorted(found, key=full_name))


def full_name(cls: type) -> str:
    """`cls` as registered: module and name."""
    return f"{cls.__module__}.{cls.__qualname__}"


def _modules(room: ModuleType) -> Iterator[str]:
    for found in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
        if not found.ispkg and found.name not in _PROGRAMS:
            yield found.name


@cache
def sample(cls: type[Record], pick: int = 0) -> Record:
    """A value of `cls`; where a field may be of several types, number `pick` of them."""
    if cls in _WHOLE:
        found: Record = _WHOLE[cls]
        return found
    kind = inspect.type_info(cls)
    assert isinstance(kind, inspect.StructType)
    versions = {field.encode_name: field.default for field in kind.fields if field.encode_name == "version"}
    known = {name: number for name, number in versions.items() if number is not msgspec.NODEFAULT}
    try:
        return msgspec.convert({f.encode_name: _value(f.type, pick) for f in kind.fields} | known, cls)
    except msgspec.ValidationError:  # optional fields that exclude each other
        return msgspec.convert({f.encode_name: _value(f.type, pick) for f in kind.fields if f.required}, cls)


def _value(kind: inspect.Type, pick: int) -> Any:  # noqa: PLR0911, PLR0912  one line per kind
    if isinstance(kind, inspect.StructType):
        return sample(kind.cls, pick)
    if isinstance(kind, inspect.UnionType):
        kinds = sorted(kind.types, key=lambda one: isinstance(one, inspect.NoneType))
        return _value(kinds[pick % len(kinds)], pick)
    if isinstance(kind, inspect.NoneType):
        return None
    if isinstance(kind, inspect.LiteralType):
        return kind.values[pick % len(kind.values)]
    if isinstance(kind, inspect.EnumType):
        return tuple(kind.cls)[pick % len(kind.cls)].value
    if isinstance(kind, inspect.BoolType):
        return True
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        return _number(kind)
    if isinstance(kind, inspect.StrType):
        least = kind.min_length or 0
        return next(text for text in _TEXTS if re.search(kind.pattern or "", text) and len(text) >= least)
    if isinstance(kind, inspect.BytesType | inspect.MemoryViewType):
        return bytes(kind.min_length or 4)
    if isinstance(kind, inspect.TupleType):
        return tuple(_value(item, pick) for item in kind.item_types)
    if isinstance(kind, inspect.VarTupleType):
        return (_value(kind.item_type, pick),) * max(1, kind.min_length or 0)
    if isinstance(kind, inspect.DictType):
        return {_value(kind.key_type, pick): _value(kind.value_type, pick)}
    if isinstance(kind, inspect.DateTimeType):
        return datetime(2030, 1, 1, tzinfo=UTC)
    if isinstance(kind, inspect.DateType):
        return date(2030, 1, 1)
    if isinstance(kind, inspect.RawType):
        return msgspec.Raw(b"\x80")
    raise NotImplementedError(f"a sample of {kind}")


def _number(kind: inspect.IntType | inspect.FloatType) -> int | float:
    low = kind.ge if kind.ge is not None else kind.gt
    high = kind.le if kind.le is not None else kind.lt
    if isinstance(kind, inspect.IntType):
        return int(low if low is not None else 1) + (kind.gt is not None)
    if low is not None and high is not None:
        return float(low + (min(high, low + 1) - low) / 2)
    return 1.5


@contextmanager
def counted_randomness() -> Iterator[None]:
    """Keys, seeds and nonces of the block come from a counter, so that its bytes are the same every time."""
    numbers = itertools.count()

    def counted(count: int) -> bytes:
        return hashlib.shake_256(b"konsil fuzz %d" % next(numbers)).digest(count)

    class Signing:
        """Ed25519PrivateKey with a `generate` that repeats itself."""

        from_private_bytes = staticmethod(Ed25519PrivateKey.from_private_bytes)

        @staticmethod
        def generate() -> Ed25519PrivateKey:
            return Ed25519PrivateKey.from_private_bytes(counted(32))

    class Agreeing:
        """X25519PrivateKey likewise."""

        from_private_bytes = staticmethod(X25519PrivateKey.from_private_bytes)

        @staticmethod
        def generate() -> X25519PrivateKey:
            return X25519PrivateKey.from_private_bytes(counted(32))

    with ExitStack() as stack:
        stack.enter_context(patch("shared.crypto.identity.Ed25519PrivateKey", Signing))
        stack.enter_context(patch("shared.crypto.sealing.X25519PrivateKey", Agreeing))
        stack.enter_context(patch("os.urandom", counted))
        stack.enter_context(patch("secrets.token_bytes", counted))
        stack.enter_context(patch("secrets.randbelow", lambda limit: int.from_bytes(counted(40), "big") % limit))
        yield
