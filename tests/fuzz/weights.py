"""Files of weights that somebody else made: torch archives, their pickles, safetensors."""

import hashlib
import io
import pickletools
import zipfile
from pathlib import Path

import numpy as np
import torch
from msgspec.structs import replace
from safetensors.numpy import save

from server.weights.archive import tensors_of
from server.weights.opcodes import value_of
from shared.layout import Layout
from shared.start import started
from shared.study import MINIMAL, Study, parse_study
from tests.fuzz.engine import Decoder, Target


def _archive() -> bytes:
    buffer = io.BytesIO()
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    torch.save({"state_dict": module.state_dict(), "epoch": 3, "lr": 0.5, "on": True}, buffer)
    return buffer.getvalue()


def _pickle(data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        return opened.read(next(name for name in opened.namelist() if name.endswith("data.pkl")))


def _archives(_folder: Path) -> Decoder:
    def read(data: bytes) -> None:
        for name, tensor in tensors_of(io.BytesIO(data), "fuzzed").items():
            if tensor.dtype != np.float32:
                raise AssertionError(f"{name} as {tensor.dtype}")

    seeds = (_archive(), save({"a.weight": np.ones((2, 3), np.float32)}))
    return Decoder(read, seeds, "bytes", (b"PK\x01\x02", b"PK\x05\x06", b"data.pkl", b"data/0", b"../../x"))


def _pickles(_folder: Path) -> Decoder:
    whole = _pickle(_archive())
    words = (b"cos\nsystem\n", b"cbuiltins\neval\n", b"R", b"(", b"t", b"b", b"h\x00", b"j\xff\xff\xff\x7f", b"Q", b".")
    codes = tuple(opcode.code.encode("latin-1") for opcode in pickletools.opcodes)
    return Decoder(value_of, (whole, b"\x80\x02}q\x00h\x00."), "bytes", (*words, *codes))


def _start(_folder: Path) -> Decoder:
    study: Study = parse_study(MINIMAL)
    seeds = (save({"head.3.bias": np.ones(2, np.float32)}),)
    return Decoder(lambda data: _begun(study, data), seeds, "bytes", (b'"F32"', b'"shape":[2]', b"data_offsets"))


def _begun(study: Study, data: bytes) -> object:
    named = replace(study.model, init="a.safetensors", init_sha256=hashlib.sha256(data).hexdigest())
    return started(replace(study, model=named), Layout(("head.3.bias",), ((2,),)), np.zeros(2, np.float32), data)


WEIGHT_TARGETS = (
    Target("torch archive", _archives, 1, ("server/weights/archive.py",)),
    Target("torch pickle", _pickles, 2, ("server/weights/opcodes.py", "server/weights/operations.py")),
    Target("start weights", _start, 1, ("shared/start.py",)),
)
