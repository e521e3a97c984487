"""A model's scores on chosen images. No metric is formed here: that is `shared.metrics`, from masked sums."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from client.images import Images

BATCH = 256


def scores(
    module: nn.Module, images: Images, rows: NDArray[np.int64], views: int = 1, *, batch: int = BATCH
) -> NDArray[np.float32]:
    """Probability of the last label for each of `rows`, float32 [len(rows)], averaged over `views` (1, 2 or 8)
    versions of each image. Leaves `module` in its mode. With a `batch` of 1 no score depends on any other image, not in
    its last bit."""
    device = next(module.parameters()).device
    training = module.training
    module.eval()
    pieces = [np.empty(0, np.float32)]
    with torch.inference_mode():
        for start in range(0, len(rows), batch):
            pixels = torch.from_numpy(images.tensors(rows[start : start + batch])).to(device)
            versions = [module(version).softmax(dim=1)[:, -1] for version in _views(pixels, views)]  # each [batch]
            pieces.append(torch.stack(versions).mean(dim=0).float().cpu().numpy())
    module.train(training)
    return np.concatenate(pieces)


def _views(pixels: Tensor, views: int) -> tuple[Tensor, ...]:
    """[batch, C, (D,) H, W] as it is; mirrored too; of images, in all symmetries of the frame: eight of a square, four
    of others."""
    if views <= 2:
        return (pixels, pixels.flip(-1))[:views]
    turned = (pixels, pixels.flip(3), pixels.flip(2), pixels.flip(2, 3))
    if pixels.shape[2] != pixels.shape[3]:
        return turned
    return (*turned, *(version.transpose(2, 3) for version in turned))
