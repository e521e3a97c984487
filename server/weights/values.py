"""What the pickle of a torch archive may stand for: plain values, tensors, storages, and named things without a life.

Nothing here is ever imported or called by a name that data gives: a `Global` is its name and no more.
"""

from dataclasses import dataclass, field

import numpy as np

#: Storages and dtypes by torch's names; bfloat16 is kept as its upper half of a float32.
TYPES: dict[str, np.dtype[np.generic]] = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype("<u2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("u1"),
}
BFLOAT16 = "BFloat16Storage"
#: A TorchScript module's class begins so; it is never looked up.
SCRIPT = "__torch__."
#: All other names that may stand in an archive.
GLOBALS = frozenset(
    {
        "collections.OrderedDict",
        "torch._utils._rebuild_tensor",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_parameter_with_state",
        "torch.Size",
        "torch.device",
        "torch.jit._pickle.build_boollist",
        "torch.jit._pickle.build_doublelist",
        "torch.jit._pickle.build_intlist",
        "torch.jit._pickle.build_tensorlist",
        "torch.jit._pickle.restore_type_tag",
        *(f"torch.{name}" for name in TYPES),
    }
)


@dataclass(frozen=True)
class Global:
    """A name that stands in the pickle."""

    name: str


@dataclass(frozen=True)
class Storage:
    """`count` numbers of the kind `kind`, in the archive's member `key`."""

    kind: str
    key: str
    count: int


@dataclass(frozen=True)
class Stored:
    """A tensor: `shape` and `stride` over its storage from `offset` on."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass
class Scripted:
    """A TorchScript module: its attributes."""

    attributes: dict[str | int, object] = field(default_factory=dict)
