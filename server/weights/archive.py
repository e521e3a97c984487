"""Tensors out of files that torch or MONAI wrote: state dicts, checkpoints, TorchScript, bundles, safetensors.

    read_tensors(Path("model.pt")) → {"encoder.conv1.weight": float32 [64, 3, 7, 7], …}

Nothing of a file is executed: no torch.load, no torch.jit.load; the pickle inside is read by opcodes.py, the code of a
TorchScript archive not at all. Names are the places in the file: keys of dicts, attributes of modules, joined by dots.

Guarantees: at most MOST_BYTES are read, and MADE times what was read is made, whatever the file announces; no member
is inflated beyond the size it announces; no name is used as a path; a tensor lies within its storage. A zip within one
is opened once, for a bundle's models/model.pt or model.ts. Files of torch before 1.6 are refused.
"""

import io
import math
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from server.weights.opcodes import value_of
from server.weights.values import BFLOAT16, TYPES, Scripted, Stored
from shared.errors import InputError
from shared.layout import Vector

#: Of one file: bytes read; members; bytes of a pickle; tensors and what holds them.
MOST_BYTES, MOST_MEMBERS, MOST_PICKLE, MOST_NAMES = 1 << 31, 100_000, 1 << 24, 50_000
#: Bytes of float32 made for each byte read: half precision is doubled, and tensors may share a storage.
MADE = 8
#: How many times its bytes a member may become.
RATIO = 100
#: Nested dicts and modules.
DEEPEST = 64
#: Where a bundle has its weights (MONAI bundle specification), the state dict first.
IN_BUNDLE = ("models/model.pt", "models/model.ts")
#: What tensors lie in.
_HOLD = (Stored, Scripted, dict, list, tuple)
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    LookupError,
    OSError,
)


def read_tensors(path: Path) -> dict[str, Vector]:
    """Every tensor of real numbers in the file or bundle folder at `path`, float32, by its place. Raises InputError."""
    if path.is_dir():
        found = [path / name for name in IN_BUNDLE if (path / name).is_file()]
        if not found:
            raise InputError(str(path), expected=f"a bundle with {' or '.join(IN_BUNDLE)}", got="a folder without")
        path = found[0]
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(str(path), expected=f"at most {MOST_BYTES >> 30} GiB", got="more")
        with path.open("rb") as file:
            return tensors_of(file, str(path))
    except OSError as error:
        raise InputError(str(path), expected="a file of weights", got=error.strerror or "an I/O error") from None


def tensors_of(file: BinaryIO, source: str) -> dict[str, Vector]:
    """As `read_tensors`, of an open file that errors call `source`."""
    start = file.read(4)
    file.seek(0)
    if start != b"PK\x03\x04":
        return _safetensors(file.read(MOST_BYTES), source)
    try:
        return _of_zip(file, source, nested=False)
    except _BROKEN as error:
        raise InputError(source, expected="a whole torch archive", got=str(error)[:200] or "a torn one") from None


def _safetensors(data: bytes, source: str) -> dict[str, Vector]:
    try:
        found = load(data)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            source,
            expected="a torch archive (torch 1.6 or later), a bundle or safetensors",
            got=str(error)[:200],
            do="Save it again with a newer torch.",
        ) from None
    return {name: tensor.astype(np.float32) for name, tensor in found.items() if tensor.dtype.kind == "f"}


def _of_zip(file: BinaryIO, source: str, *, nested: bool) -> dict[str, Vector]:
    with zipfile.ZipFile(file) as opened:
        archive = _Archive(opened, source)
        roots = sorted({name[: -len("data.pkl")] for name in archive.infos if name.endswith("/data.pkl")}, key=len)
        roots = [root for root in roots if root.count("/") == 1]
        if roots:
            return archive.tensors(roots[0])
        inner = [name for end in IN_BUNDLE for name in archive.infos if name == end or name.endswith(f"/{end}")]
        if nested or not inner:
            raise InputError(
                source, expected="data.pkl of a torch archive, or a bundle's models/model.pt", got="neither"
            )
        return _of_zip(io.BytesIO(archive.read(inner[0], MOST_BYTES)), f"{source}: {IN_BUNDLE}", nested=True)


@dataclass
class _Archive:
    """One opened zip; bytes `taken` of it, and bytes `made` of them."""

    opened: zipfile.ZipFile
    source: str
    taken: int = 0
    made: int = 0
    infos: dict[str, zipfile.ZipInfo] = field(init=False)
    _storages: dict[str, NDArray[np.generic]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.infos = self.opened.NameToInfo
        if len(self.infos) > MOST_MEMBERS:
            raise self.refusal(f"at most {MOST_MEMBERS} members", str(len(self.infos)))

    def refusal(self, expected: str, got: str) -> InputError:
        """What is wrong with the file."""
        return InputError(self.source, expected=expected, got=got)

    def read(self, name: str, most: int) -> bytes:
        """The member `name`, of at most `most` bytes."""
        if name not in self.infos:
            raise self.refusal(f"a member {name[-100:]!r}", "none")
        info = self.infos[name]
        if info.flag_bits & 0x1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise self.refusal("stored or deflated members", "an encrypted or unusual one")
        most = min(most, MOST_BYTES - self.taken)
        if info.file_size > most or info.file_size > RATIO * max(info.compress_size, 1 << 16):
            raise self.refusal(f"members of at most {most} bytes", f"{info.file_size}")
        self.taken += info.file_size
        with self.opened.open(info) as member:
            data = member.read(info.file_size)
        if len(data) != info.file_size:
            raise self.refusal(f"{info.file_size} bytes in a member", str(len(data)))
        return data

    def tensors(self, root: str) -> dict[str, Vector]:
        """What the archive below `root` holds; constants of TorchScript as "constants.0" and so on."""
        if self.infos.get(f"{root}byteorder") and self.read(f"{root}byteorder", 16).strip() != b"little":
            raise self.refusal("numbers with the least byte first", "others")
        found = dict(self._under(root, "data", ""))
        if f"{root}constants.pkl" in self.infos:
            found |= dict(self._under(root, "constants", "constants."))
        return found

    def _under(self, root: str, part: str, prefix: str) -> Iterator[tuple[str, Vector]]:
        value = value_of(self.read(f"{root}{part}.pkl", MOST_PICKLE), f"{self.source}: {part}.pkl")
        for place, stored in named(value, self.source):
            if TYPES[stored.storage.kind].kind == "f" or stored.storage.kind == BFLOAT16:
                yield prefix + place, self._tensor(stored, f"{root}{part}/")

    def _tensor(self, stored: Stored, folder: str) -> Vector:
        """float32 [*shape]."""
        numbers, size = self._storage(stored, folder), math.prod(stored.shape)
        last = stored.offset + sum((side - 1) * step for side, step in zip(stored.shape, stored.stride, strict=True))
        if size and last >= len(numbers):
            raise self.refusal(f"a tensor within {len(numbers)} numbers", f"one up to {last}")
        self.made += 4 * size
        if size > len(numbers) or self.made > MADE * self.taken:
            raise self.refusal("tensors no larger than what they are stored in", "a larger one")
        if not size:
            return np.zeros(stored.shape, np.float32)
        step = numbers.itemsize
        strides = tuple(step * stride for stride in stored.stride)
        view = as_strided(numbers[stored.offset :], stored.shape, strides, writeable=False)
        if stored.storage.kind == BFLOAT16:  # the upper half of a float32 (little-endian)
            return (view.astype("<u4") << np.uint32(16)).view("<f4").astype(np.float32)
        return view.astype(np.float32)

    def _storage(self, stored: Stored, folder: str) -> NDArray[np.generic]:
        kind, name = TYPES[stored.storage.kind], folder + stored.storage.key
        if name not in self._storages:
            self._storages[name] = np.frombuffer(self.read(name, MOST_BYTES), np.uint8)
        raw = self._storages[name]
        if len(raw) != stored.storage.count * kind.itemsize:
            raise self.refusal(f"{stored.storage.count} numbers in a storage", f"{len(raw)} bytes")
        return raw.view(kind)


def named(value: object, source: str) -> Iterator[tuple[str, Stored]]:
    """The tensors in `value` by their places, each thing visited once: a value may contain itself."""
    seen, waiting, met = set[int](), list[tuple[str, object, int]]([("", value, 0)]), 0
    while waiting:
        place, found, depth = waiting.pop()
        if isinstance(found, Stored):
            yield place, found
        elif id(found) not in seen:
            seen.add(id(found))
            if depth >= DEEPEST:
                raise InputError(source, expected=f"at most {DEEPEST} levels of dicts and modules", got="more")
            parts = [(key, part) for key, part in _parts(found) if isinstance(part, _HOLD)]
            met += len(parts)
            if met > MOST_NAMES:
                raise InputError(source, expected=f"at most {MOST_NAMES} tensors and what holds them", got="more")
            waiting.extend((_join(place, key), part, depth + 1) for key, part in reversed(parts))


def _parts(found: object) -> Iterable[tuple[object, object]]:
    """Keys and values of what may hold tensors."""
    if isinstance(found, Scripted):
        return found.attributes.items()
    if isinstance(found, dict):
        return found.items()
    return enumerate(found) if isinstance(found, list | tuple) else ()


def _join(place: str, key: object) -> str:
    if len(place) > 512:  # nobody's name; and long keys in deep dicts would multiply
        return place
    return f"{place}.{str(key)[:256]}" if place else str(key)[:256]
