"""TorchScript: what C++ programs and MONAI bundles load. Facts stand inside as an extra file.

torch keeps it for those that have it and recommends torch.export for anything new. Its archive holds a data.pkl in a
form of its own, which torch's C++ reader opens without running code; we write and read nothing else that is pickled.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.jit._trace import TracerWarning

from shared.errors import InputError
from shared.export.base import FACTS, Images, Runner, Source

SUFFIX = ""
#: Where monai.data.load_net_with_metadata looks for the same facts.
MONAI = "metadata.json"


def write(source: Source, place: Path) -> None:
    """By tracing. Raises InputError for a network that cannot be traced."""
    with quiet(), torch.no_grad():
        # shapes of one image become constants, as they are in every format; the comparison finds what else would
        warnings.simplefilter("ignore", TracerWarning)
        try:
            traced = torch.jit.trace(source.network, (source.images,), check_trace=False)  # type: ignore[no-untyped-call]  # torch's
        except RuntimeError as error:
            first = str(error).strip().splitlines()[0]
            do = "Export it as torch-export or onnx."
            raise InputError("torchscript", expected="a network that can be traced", got=first[:300], do=do) from None
        torch.jit.save(traced, str(place), _extra_files={FACTS: source.facts, MONAI: source.facts})


@contextmanager
def quiet() -> Iterator[None]:
    """torch says of every use of TorchScript that torch.export is newer; so does our page."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def reload(place: Path) -> Runner:
    """By torch.jit.load, of a file that this process wrote."""
    with quiet():
        module = torch.jit.load(str(place), map_location="cpu")  # type: ignore[no-untyped-call]  # torch's

    def run(images: Images) -> Images:
        with torch.inference_mode():
            found: Images = module(torch.from_numpy(images)).numpy()
        return found

    return run
