"""A simulated patient: a thorax in a few numbers, its nodules, and how it stood for one exposure.

The patient's frame is centred on the image: x to the right (so the patient's left, and the heart), y down, one unit =
half the image's width; a length of 0.1 is 5 % of the width. Everything is drawn from the caller's generator.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Difficulty:
    """How hard the finding is to see. Radii: shares of the image's width; contrasts: added attenuation."""

    radius: tuple[float, float] = (0.042, 0.070)
    contrast: tuple[float, float] = (0.20, 0.34)
    #: strength of vessels and parenchyma, the clutter that nodules hide in
    texture: float = 0.030
    ribs: float = 0.055


@dataclass(frozen=True)
class Anatomy:
    """One patient's thorax; lengths in half image widths. Lungs are (image left, image right)."""

    body_width: float
    body_density: float
    lung_x: tuple[float, float]
    lung_y: float
    lung_width: float
    lung_height: float
    diaphragm: tuple[float, float]
    heart_x: float
    heart_y: float
    heart_size: tuple[float, float]
    spine_width: float
    vertebrae: float
    rib_spacing: float
    rib_phase: float
    rib_slope: float
    rib_strength: float
    clavicle_tilt: float
    breast: float


@dataclass(frozen=True)
class Nodule:
    """A round shadow in a lung; `radius` in half image widths, `lobes`: amplitude, phase of its outline."""

    x: float
    y: float
    radius: float
    contrast: float
    softness: float
    lobes: tuple[float, float]


@dataclass(frozen=True)
class Pose:
    """How this exposure differs from the last: shift, turn (radians), magnification, breath (lung height)."""

    dx: float
    dy: float
    turn: float
    zoom: float
    breath: float
    exposure: float


def draw_anatomy(
    rng: np.random.Generator,
    sex: Literal["F", "M"] = "F",
    age: int = 60,
    difficulty: Difficulty | None = None,
) -> Anatomy:
    """A patient: body size and breasts follow `sex`; heart size and demineralised bone follow `age`."""
    difficulty = difficulty or Difficulty()
    size = rng.normal(1.0, 0.035) * (0.965 if sex == "F" else 1.02)
    older = np.clip((age - 40) / 50, -0.4, 1.0)
    return Anatomy(
        body_width=0.93 * size,
        body_density=float(rng.normal(0.50, 0.035)),
        lung_x=(-0.43 * size + float(rng.normal(0, 0.012)), 0.43 * size + float(rng.normal(0, 0.012))),
        lung_y=float(rng.normal(0.0, 0.02)),
        lung_width=0.34 * size,
        lung_height=0.80 * size,
        diaphragm=(0.52 + float(rng.normal(0, 0.03)), 0.60 + float(rng.normal(0, 0.03))),
        heart_x=0.16 + float(rng.normal(0, 0.015)),
        heart_y=0.30 + float(rng.normal(0, 0.02)),
        heart_size=(0.30 + 0.05 * older + float(rng.normal(0, 0.015)), 0.34 + float(rng.normal(0, 0.015))),
        spine_width=0.080 * size,
        vertebrae=float(rng.uniform(0.125, 0.145)),
        rib_spacing=float(rng.uniform(0.150, 0.175)),
        rib_phase=float(rng.uniform(0, 1)),
        rib_slope=float(rng.uniform(0.28, 0.42)),
        rib_strength=difficulty.ribs * float(rng.uniform(0.8, 1.2)) * (1 - 0.3 * older),
        clavicle_tilt=float(rng.uniform(0.12, 0.26)),
        breast=float(rng.uniform(0.05, 0.11)) if sex == "F" else 0.0,
    )


def draw_nodules(
    rng: np.random.Generator, anatomy: Anatomy, count: int, difficulty: Difficulty | None = None
) -> tuple[Nodule, ...]:
    """`count` nodules at random places of the lung fields, clear of the heart and of each other."""
    difficulty = difficulty or Difficulty()
    found: list[Nodule] = []
    while len(found) < count:
        side = int(rng.integers(2))
        angle, distance = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0, 1))
        x = anatomy.lung_x[side] + 0.66 * anatomy.lung_width * distance * np.cos(angle)
        y = anatomy.lung_y + 0.72 * anatomy.lung_height * distance * np.sin(angle)
        radius = 2 * rng.uniform(*difficulty.radius)
        heart = ((x - anatomy.heart_x) / (anatomy.heart_size[0] + radius)) ** 2 + (
            (y - anatomy.heart_y) / (anatomy.heart_size[1] + radius)
        ) ** 2
        below = y + radius > anatomy.diaphragm[side] - 0.10
        near = any(np.hypot(x - n.x, y - n.y) < radius + n.radius for n in found)
        if heart < 1 or below or near:
            continue
        contrast, softness = rng.uniform(*difficulty.contrast), rng.uniform(0.12, 0.28)
        lobes = (float(rng.uniform(0, 0.14)), float(rng.uniform(0, 2 * np.pi)))
        found.append(Nodule(float(x), float(y), float(radius), float(contrast), float(softness), lobes))
    return tuple(found)


def draw_pose(rng: np.random.Generator) -> Pose:
    """A small change of position, breath and exposure between two images of a patient."""
    dx, dy, turn, magnify, breath, exposure = rng.normal(0, (0.02, 0.02, 0.018, 0.015, 0.02, 0.02))
    return Pose(float(dx), float(dy), float(turn), 1 + float(magnify), 1 + float(breath), 1 + float(exposure))
