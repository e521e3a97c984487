"""A network as a graph that needs no code of ours, for any number of images: what ONNX and .pt2 begin with."""

import warnings

import torch
from torch.export import Dim, ExportedProgram

from shared.errors import InputError
from shared.export.base import Source


def program_of(source: Source) -> ExportedProgram:
    """The graph. Raises InputError for a network that has none, or one for a fixed number of images only."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own, about its own trees
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            program = torch.export.export(source.network, (source.images,), dynamic_shapes=({0: Dim("batch")},))
        except (RuntimeError, torch._dynamo.exc.TorchDynamoException) as error:
            first = str(error).strip().splitlines()[0]
            raise InputError(
                type(source.network).__name__,
                expected="a network that is one graph for any number of images",
                got=first[:300],
                do="Export it as torchscript.",
            ) from None
    return program
