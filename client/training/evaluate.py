"""A model's scores on chosen images. No metric is formed here: that is `shared.metrics`, from masked sums."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from client.images import Images

BATCH = 256


def scores(module: nn.Module, images: Images, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Probability of the last label for each of `rows`, float32 [len(rows)]. Leaves `module` in its mode."""
    device = next(module.parameters()).device
    training = module.training
    module.eval()
    pieces = [np.empty(0, np.float32)]
    with torch.inference_mode():
        for start in range(0, len(rows), BATCH):
            pixels = torch.from_numpy(images.pixels[rows[start : start + BATCH]]).to(device)
            logits = module(pixels)  # [batch, classes]
            pieces.append(logits.softmax(dim=1)[:, -1].float().cpu().numpy())
    module.train(training)
    return np.concatenate(pieces)
