"""Norms, clipping and summing of per-patient gradients: the one place where the sensitivity is made.

Norm: L2 over all parts together. Neighbouring: all images of one patient added or removed. Sensitivity of the sum:
`clip`, whatever the data: what is scaled is the very array that was measured (`Rows`), or a product whose norm is never
taken for less than it is (`Products`). Norms are taken, and the sum is made, in float64, so that how the others round
moves the sum by less than 2^-30 of the clip (shared/mechanism.py, ARITHMETIC).

A gradient that is not finite, and whatever fills a chunk up, contributes zero.

    >>> total = torch.zeros(2, dtype=torch.float64)
    >>> clipped_sum([(slice(0, 2), Rows(torch.tensor([[3.0, 4.0], [0.1, 0.0]])))], total, clip=1.0, real=2)
    1
    >>> total
    tensor([0.7000, 0.8000], dtype=torch.float64)
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

#: Numbers whose squares are summed in float32 at a time, in lanes: relative error of the norm below 2^-18.
RUN = 4096
#: Norms that float32 squares tell: what is lost of 2^28 numbers below 2^-63 is 2^-49 at most.
LEAST, MOST = 2.0**-29, 2.0**63
#: Columns summed over patients at a time: as float64 they stay in the cache.
COLUMNS = 4096
#: What float64 may lose of a sum of products, as a share of the product of the sums of squares.
LOST = 2.0**-44


class Part(Protocol):
    """The gradients of p patients with respect to some k of the weights."""

    def squares(self) -> Tensor:
        """Squared norms [p], float64, never less than they are by more than rounding."""

    def drop(self, patients: Tensor) -> None:
        """Set the gradients of `patients`, bool [p], to zero."""

    def add_to(self, total: Tensor, factors: Tensor) -> None:
        """Add Σ factors[p] · gradient[p] to `total`, float64 [k]."""


@dataclass(frozen=True)
class Rows:
    """Gradients as they are, [p, k]."""

    values: Tensor

    def squares(self) -> Tensor:
        """Sums over runs of `RUN` numbers in their own precision, over the runs in float64."""
        whole = self.values.shape[1] // RUN * RUN
        runs = self.values[:, :whole].reshape(len(self.values), -1, RUN) if whole else self.values[:, None, :0]
        parts, kind = (runs, self.values[:, None, whole:]), torch.promote_types(self.values.dtype, torch.float32)
        norms = torch.cat([torch.linalg.vector_norm(part, dim=-1, dtype=kind) for part in parts], 1).double()
        squares = norms.square().sum(dim=1)
        # Beyond these float32 squares overflow, or lose more than 2^-20 of a norm; nobody else's norm is taken anew.
        beyond = ~((squares >= LEAST**2) & (norms <= MOST).all(dim=1))
        for row in beyond.nonzero().flatten().tolist():
            squares[row] = self.values[row].double().square().sum()
        return squares

    def drop(self, patients: Tensor) -> None:
        """In place."""
        self.values[patients] = 0

    def add_to(self, total: Tensor, factors: Tensor) -> None:
        """A block of columns after the other."""
        for values, part in zip(torch.split(self.values, COLUMNS, dim=1), torch.split(total, COLUMNS), strict=True):
            part.addmv_(values.double().T, factors)


@dataclass(frozen=True)
class Joined:
    """Gradients with respect to many small weights side by side, [p, k], that lie at `places` in the whole sum."""

    rows: Rows
    places: tuple[slice, ...]

    def squares(self) -> Tensor:
        """Of all together."""
        return self.rows.squares()

    def drop(self, patients: Tensor) -> None:
        """In place."""
        self.rows.drop(patients)

    def add_to(self, total: Tensor, factors: Tensor) -> None:
        """Here `total` is the whole sum [d]."""
        found = total.new_zeros(self.rows.values.shape[1])
        self.rows.add_to(found, factors)
        pieces = torch.split(found, [place.stop - place.start for place in self.places])
        for place, piece in zip(self.places, pieces, strict=True):
            total[place] += piece


@dataclass
class Products:
    """Gradients left as the products they are, outputᵀ · input: of a layer with inputs [p, t, i] and gradients
    [p, t, o] of its outputs at t places, k = o · i (book-keeping: Bu et al. 2022, arXiv 2210.00038, §3). `factors`
    gives new copies of both, float64; `measured` is `bounded` of them. Inputs of a convolution with a `kernel` of
    several places run over those outside, over channels inside.

    Cheaper in time and memory than `Rows` where t is small and o · i large.
    """

    measured: Tensor
    factors: Callable[[], tuple[Tensor, Tensor]]
    kernel: int = 1
    dropped: Tensor | None = None

    def squares(self) -> Tensor:
        """As measured when the layer was passed: the copies need not be kept until all norms are known."""
        return self.measured

    def drop(self, patients: Tensor) -> None:
        """Remembered until the copies are made."""
        self.dropped = patients

    def add_to(self, total: Tensor, factors: Tensor) -> None:
        """One product over all patients and places."""
        inputs, outputs = self.factors()
        if self.dropped is not None:  # not a number times zero is not zero
            inputs[self.dropped] = 0
            outputs[self.dropped] = 0
        scaled = outputs.mul_(factors[:, None, None]).flatten(0, 1)  # [p t, o]
        out, seen = scaled.shape[1], inputs.flatten(0, 1)  # [p t, i]
        if self.kernel == 1:
            total.view(out, -1).addmm_(scaled.T, seen)
        else:  # weights are [o, in, kernel]
            total.view(out, -1, self.kernel).mT.add_((scaled.T @ seen).view(out, self.kernel, -1))


def gram(values: Tensor) -> Tensor:
    """[p, t, k] → ⟨row, row⟩ for every two of the t, [p, t, t]."""
    return torch.bmm(values, values.mT)


def bounded(inputs: Tensor, outputs: Tensor) -> Tensor:
    """Squared norms [p] of outputᵀ · input from both `gram`s: ⟨input inputᵀ, output outputᵀ⟩ (Li et al. 2021, arXiv
    2110.05679, eq. 4) plus what rounding may have taken.

    Where the terms of a gradient cancel, their rounding may be larger than the gradient; without the second term
    such a patient would be clipped too little. In float32, as ghost clipping usually is, it would be noticed.
    """
    sizes = [a.diagonal(dim1=1, dim2=2).sum(dim=1) for a in (inputs, outputs)]
    return (inputs * outputs).sum(dim=(1, 2)).clamp_min(0) + LOST * sizes[0] * sizes[1]


@torch.no_grad()
def clipped_sum(parts: Sequence[tuple[slice, Part]], total: Tensor, *, clip: float, real: int) -> int:
    """Add the clipped gradients of the first `real` patients to `total`, float64 [d], each part at its place; may
    change the parts. Returns how many were no longer than `clip`."""
    squares = torch.stack([part.squares() for _, part in parts]).sum(dim=0)
    counts = torch.isfinite(squares)
    counts[real:] = False
    if not bool(counts.all()):
        for _, part in parts:
            part.drop(~counts)
    norms = torch.where(counts, squares.sqrt(), math.inf)
    factors = (clip / norms).clamp(max=1.0)  # a norm of 0 gives 1
    for place, part in parts:
        part.add_to(total[place], factors)
    return int((norms <= clip).sum())


def places(module: nn.Module) -> dict[Tensor, slice]:
    """Where each weight that is trained lies in the flat sum [d]."""
    found, start = dict[Tensor, slice](), 0
    for parameter in trained(module):
        found[parameter] = slice(start, start + parameter.numel())
        start += parameter.numel()
    return found


def trained(module: nn.Module) -> list[nn.Parameter]:
    """In the order of `module.parameters()`."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def zeros(module: nn.Module, device: torch.device) -> Tensor:
    """An empty sum, float64 [d]."""
    return torch.zeros(sum(p.numel() for p in trained(module)), dtype=torch.float64, device=device)


def rows(gradients: Iterable[Tensor], module: nn.Module) -> list[tuple[slice, Part]]:
    """Parts of gradients [p, …] that lie in the order of the trained weights."""
    return [(place, Rows(g.flatten(1))) for place, g in zip(places(module).values(), gradients, strict=True)]
