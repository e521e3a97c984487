"""Images moved along displacements, as MONAI's Warp does it: this one keeps no state, so that gradients of single
patients can be mapped over it.

A displacement field is float32 [n, sides, *size], in pixels, along the sides in the order of `size`. What lies outside
an image is what its edge is.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def warped(images: Tensor, displacement: Tensor) -> Tensor:
    """The images [n, C, *size] looked up at every place plus its displacement, linearly between pixels."""
    size = images.shape[2:]
    places = []
    for side, length in enumerate(size):
        along = torch.arange(length, device=images.device, dtype=displacement.dtype)
        own = along.reshape([-1 if other == side else 1 for other in range(len(size))])
        places.append((own + displacement[:, side]) * (2 / max(1, length - 1)) - 1)
    grid = torch.stack(places[::-1], dim=-1)  # [n, *size, sides], the last side first, −1 … 1 from edge to edge
    grid = grid.to(images.dtype)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=True)


def integrated(velocity: Tensor, steps: int) -> Tensor:
    """The displacement after one unit of time along a velocity [n, sides, *size] that stays, by 2^`steps` small ones
    (scaling and squaring, Arsigny et al. 2006): smooth, and all but free of folds."""
    displacement: Tensor = velocity / 2**steps
    for _ in range(steps):
        displacement = displacement + warped(displacement, displacement)
    return displacement


def determinants(displacement: Tensor) -> Tensor:
    """How much the places between pixels grow, [n, sides, *size] → [n, *(size − 1)]; 0 or less where they fold."""
    sides = displacement.shape[1]
    inner = tuple(slice(0, length - 1) for length in displacement.shape[2:])
    rows = [  # [n, sides, *(size − 1)]
        displacement.diff(dim=2 + side)[(slice(None), slice(None), *inner)] for side in range(sides)
    ]
    jacobian = torch.stack(rows, dim=1).movedim((1, 2), (-2, -1))  # [n, *(size − 1), by, of]
    eye = torch.eye(sides, device=jacobian.device, dtype=jacobian.dtype)
    found: Tensor = torch.linalg.det(jacobian + eye)
    return found


def bending(displacement: Tensor) -> Tensor:
    """Mean squared second derivatives of a field [n, sides, *size], [n] (Rueckert et al. 1999, eq. 3): nothing of what
    moves, turns or scales the whole. MONAI's indexes tensors with lists, which torch is about to read otherwise."""
    sides = displacement.shape[1]
    total = displacement.new_zeros(len(displacement))
    for one in range(2, 2 + sides):
        for two in range(2, 2 + sides):
            second = displacement.diff(n=2, dim=one) if one == two else displacement.diff(dim=one).diff(dim=two)
            total = total + second.square().flatten(1).mean(dim=1)
    return total
