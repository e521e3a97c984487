"""What a model makes of chosen images, in the measures of the study's kind of task. No figure is formed here: that is
`Kind.judge`, from masked sums."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from client.images import Images
from shared.tasks.base import Floats, Kind

BATCH = 256
#: Values of images that are looked at together, at most: volumes go one by one.
MOST_VALUES = 1 << 24


def measures(
    kind: Kind, module: nn.Module, images: Images, rows: NDArray[np.int64], views: int = 1, *, batch: int = BATCH
) -> Floats:
    """The measures of each of `rows`, float64 [len(rows), measures], as `views` (1, 2 or 8) versions of each image give
    them. Leaves `module` in its mode. With a `batch` of 1 no measure depends on any other image, not in its last bit.
    """
    device = next(module.parameters()).device
    training = module.training
    module.eval()
    size = max(1, min(batch, MOST_VALUES // max(1, int(np.prod(images.pixels.shape[1:])))))
    pieces = []
    with torch.inference_mode():
        for start in range(0, len(rows), size):
            some = rows[start : start + size]
            pixels, target = torch.from_numpy(images.tensors(some)), torch.from_numpy(images.target[some])
            pieces.append(kind.measure(module, pixels.to(device), target.to(device), views))
        if not pieces:  # of no images the shape
            black = torch.zeros(1, *images.pixels.shape[1:], device=device)
            target = torch.from_numpy(np.zeros((1, *images.target.shape[1:]), images.target.dtype)).to(device)
            pieces.append(kind.measure(module, black, target, views)[:0])
    module.train(training)
    return np.concatenate(pieces)
