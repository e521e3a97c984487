"""What a format of others must do: write a network down, and run what was written without Konsil's own code.

A format is one module of this package, named in run.FORMATS and nowhere else. Rules: nothing is pickled by us; what is
written holds no image of anybody (networks are traced on random numbers); the facts of the model travel inside, as JSON
under the name `FACTS`; `write` gets a place that is not there yet, with the suffix that the caller chose.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

#: Of the JSON inside.
FACTS = "konsil.json"

Images = NDArray[np.float32]
#: images float32 [n, channels, …] in [0, 1] → what the network gives, for any n ≥ 1
Runner = Callable[[Images], Images]


@dataclass(frozen=True)
class Source:
    """What is written: `network` in evaluation mode on the CPU, random `images` float32 [2, channels, …] to trace it
    with, and `facts`, the JSON of facts.Facts."""

    network: nn.Module
    images: Tensor
    facts: str


class Format(Protocol):
    """One module. `SUFFIX`: how its files must be named, "" where that is free."""

    SUFFIX: str

    def write(self, source: Source, place: Path) -> None:
        """Write it to `place`."""

    def reload(self, place: Path) -> Runner:
        """Run what stands there, by the format's own library."""
