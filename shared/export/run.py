"""From a finished model to a file of others: written, loaded again, compared, and only then at its place.

Guarantees: what stands at the place gave the network's own answers for random images, singly and together, within
`BOUND`; nothing stands there that did not, whatever fails or is killed; nothing that was there is replaced.

    export(Path("models/chest-01"), None, "onnx", Path("chest.onnx")).difference    # 1.2e-07
"""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from shared.errors import InputError, OperatorError, SiteError
from shared.export.base import Format, Images, Source
from shared.export.facts import facts_of, given_shape
from shared.files import sync_folder
from shared.network import network_of
from shared.options import chosen
from shared.parameters import load_vector
from shared.published import Model, read_model

#: Format → module of this package, which is a base.Format.
FORMATS: Mapping[str, str] = {
    "onnx": "shared.export.onnx_file",
    "torchscript": "shared.export.torchscript",
    "torch-export": "shared.export.torch_export",
    "monai-bundle": "shared.export.monai_bundle",
}

#: Kinds of tasks whose network is of no use without what Konsil does around it, and why.
INSIDE: Mapping[str, str] = {"synthesis": "one that draws images from noise"}

#: Most that an output may differ, beside the largest output or 1: float32 sums in another order.
BOUND = 1e-4
#: Images at a time that are compared: singly, as traced, and another number.
BATCHES = (1, 2, 3)


@dataclass(frozen=True)
class Exported:
    """What was written: the largest `difference` of an output from the network's own, of `outputs` values as large as
    `largest`; `genuine` only if the model's signatures were checked."""

    place: Path
    difference: float
    largest: float
    outputs: int
    genuine: bool


def export(place: Path, root_public: bytes | None, name: str, out: Path) -> Exported:
    """The model at `place` in format `name`, to `out`. Raises InputError for an unknown format, a place that is taken
    or misnamed, a model that the format cannot hold; PeerError for one that is not what it says it is; OperatorError
    where the copy gives other answers."""
    chosen(name, FORMATS, "--format")
    suffix = _format(name).SUFFIX
    if suffix and out.suffix != suffix:
        do = "That is how those who load it know it."
        raise InputError(str(out), expected=f"a name ending in {suffix}", got=out.suffix or "none", do=do)
    if out.exists():
        raise InputError(str(out), expected="a place with nothing there", got="something", do="Choose another --out.")
    model = read_model(place, root_public)
    if (kind := model.study.task.kind) in INSIDE:
        do = "Use it through Konsil."
        expected = "a kind of task whose network answers an image in one go"
        raise InputError(f"export of {kind}", expected=expected, got=INSIDE[kind], do=do)
    source = source_of(model)
    difference, largest, outputs = write_checked(source, name, out)
    return Exported(out, difference, largest, outputs, model.manifest is not None)


def source_of(model: Model) -> Source:
    """The model's network with its weights, in evaluation mode, and random images of the size that it is given."""
    network = network_of(model.study)
    load_vector(network, model.weights)
    images = _random(2, torch.Size(given_shape(model.study)))
    return Source(network.eval().requires_grad_(False), images, facts_of(model))


def write_checked(source: Source, name: str, out: Path) -> tuple[float, float, int]:
    """Write, load, compare and move into place; the largest difference, the largest output, how many there were."""
    _check_answers(source)
    module = _format(name)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
            draft = Path(folder) / out.name
            module.write(source, draft)
            told = _compare(source, module, draft, name)
            _sync(draft)
            os.rename(draft, out)  # noqa: PTH104  one step; fails where something came there in the meantime
        sync_folder(out.parent)
    except OSError as error:
        do = "Free space or correct the permissions, then start again."
        got = error.strerror or str(error)
        raise SiteError(f"writing {out}", expected="free space and permission", got=got, do=do) from None
    return told


def _format(name: str) -> Format:
    module: Format = import_module(FORMATS[name])
    return module


def _compare(source: Source, module: Format, draft: Path, name: str) -> tuple[float, float, int]:
    run, worst, largest, outputs = module.reload(draft), 0.0, 0.0, 0
    for number in BATCHES:
        images = _random(number, source.images.shape[1:], seed=number)
        with torch.inference_mode():
            expected: Images = source.network(images).numpy()
        try:
            got = run(images.numpy())
        except (RuntimeError, ValueError) as error:  # of torch, and of ONNX Runtime
            raise _other(name, f"answers for {number} images", _line(error)) from None
        if got.shape != expected.shape or not np.isfinite(got).all():
            raise _other(name, f"{list(expected.shape)}, finite", f"{list(got.shape)}")
        worst = max(worst, float(np.abs(got - expected).max()))
        largest, outputs = max(largest, float(np.abs(expected).max())), outputs + expected.size
    if worst > BOUND * max(1.0, largest):
        raise _other(name, f"a difference of at most {BOUND * max(1.0, largest):.1e}", f"{worst:.1e}")
    return worst, largest, outputs


def _other(name: str, expected: str, got: str) -> OperatorError:
    do = "Nothing was written. Export in another format."
    return OperatorError(f"{name}: answers of the copy", expected=expected, got=got, do=do)


def _check_answers(source: Source) -> None:
    """Raise InputError for a network that answers in anything but one tensor, or never the same twice."""
    name = _name(source.network)
    with torch.inference_mode():
        first, second = source.network(source.images), source.network(source.images)
    if not isinstance(first, Tensor) or first.dtype != torch.float32:
        got = type(first).__name__
        do = "Use it through Konsil."
        raise InputError(f"export of {name}", expected="a network that answers in one float32 tensor", got=got, do=do)
    if not torch.equal(first, second):
        do = "Use it through Konsil."
        raise InputError(f"export of {name}", expected="the same answer twice", got="random ones", do=do)


def _line(error: Exception) -> str:
    """The last line that says something: torch's errors end with it."""
    return [line for line in str(error).splitlines() if line.strip()][-1].strip()[:200]


def _name(network: nn.Module) -> str:
    return type(network).__name__


def _random(number: int, shape: torch.Size, seed: int = 0) -> Tensor:
    return torch.rand(number, *shape, generator=torch.Generator().manual_seed(seed))


def _sync(draft: Path) -> None:
    """All of it on disk."""
    for path in [draft, *draft.rglob("*")] if draft.is_dir() else [draft]:
        path.chmod(0o755 if path.is_dir() else 0o644)
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
