"""A simulated patient for CT: the lower chest and upper abdomen in a few numbers, with or without a pleural effusion.

The patient's frame is that of DICOM (LPS, PS3.3 C.7.6.2.1.1) in mm: x to the patient's left, y to the back, z to the
head; x = y = 0 is the body's axis, z = 0 about where the right dome of the diaphragm ends. Everything is drawn from the
caller's generator.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Ellipsoid:
    """`centre` and half axes `radii`, (x, y, z) in mm."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]


@dataclass(frozen=True)
class Trunk:
    """One patient; lengths in mm. Of pairs the right one is the first. `body`: half width and half depth, `wall`: how
    thick fat and muscle are around the ribs; `domes`: height of the diaphragm; `effusions`: how deep fluid lies in
    either pleural space, 0 for none; `fluid_hu` and `liver_hu`, the latter without contrast medium."""

    body: tuple[float, float]
    wall: float
    lungs: tuple[Ellipsoid, Ellipsoid]
    domes: tuple[float, float]
    heart: Ellipsoid
    liver: tuple[Ellipsoid, Ellipsoid]
    spleen: Ellipsoid
    stomach: Ellipsoid
    kidneys: tuple[Ellipsoid, Ellipsoid]
    spine: float
    rib_phase: float
    effusions: tuple[float, float]
    fluid_hu: float
    liver_hu: float


def draw_trunk(
    rng: np.random.Generator, sex: Literal["F", "M"] = "F", age: int = 60, *, effusion: bool = False
) -> Trunk:
    """A patient: the body's size follows `sex`, the heart's `age`; with an `effusion` on one side or both."""
    size = float(rng.normal(1.0, 0.04)) * (0.95 if sex == "F" else 1.03)
    older = float(np.clip((age - 40) / 50, -0.4, 1.0))
    domes = float(rng.normal(0, 6)), float(rng.normal(-14, 6))
    wide, deep = (float(value) for value in rng.normal((150 * size, 102 * size), (8, 6)))
    return Trunk(
        body=(wide, deep),
        wall=float(rng.uniform(14, 26)),
        lungs=(_organ(rng, (-70, 2, 45), (60, 82, 165), size), _organ(rng, (70, 2, 45), (58, 82, 165), size)),
        domes=domes,
        heart=_organ(rng, (24, -24, 42), (52 + 8 * older, 46 + 6 * older, 50), size),
        liver=(_organ(rng, (-58, -2, -50), (74, 74, 82), size), _organ(rng, (8, -34, -42), (72, 40, 44), size)),
        spleen=_organ(rng, (88, 34, -48), (30, 44, 48), size),
        stomach=_organ(rng, (56, -30, -58), (42, 36, 52), size),
        kidneys=(_organ(rng, (-58, 48, -122), (27, 27, 48), size), _organ(rng, (58, 48, -112), (27, 27, 48), size)),
        spine=20 * size,
        rib_phase=float(rng.uniform(0, 1)),
        effusions=_effusions(rng) if effusion else (0.0, 0.0),
        fluid_hu=float(rng.uniform(2, 18)),
        liver_hu=float(rng.normal(56, 4)),
    )


def _organ(rng: np.random.Generator, centre: tuple[float, ...], radii: tuple[float, ...], size: float) -> Ellipsoid:
    """An organ of a patient of relative `size`, a little elsewhere and a little larger or smaller than others'."""
    x, y, z = (float(value) for value in size * np.array(centre) + rng.normal(0, 3, 3))
    a, b, c = (float(value) for value in size * np.array(radii) * rng.normal(1, 0.05, 3))
    return Ellipsoid((x, y, z), (a, b, c))


def _effusions(rng: np.random.Generator) -> tuple[float, float]:
    """One side, or both in three patients of ten."""
    depths = rng.uniform(22, 55, 2)
    both, right = rng.random() < 0.3, rng.random() < 0.5
    return float(depths[0] * (both or right)), float(depths[1] * (both or not right))
