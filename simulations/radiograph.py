"""Chest-like radiographs drawn from a few numbers: same anatomy, nodules and generator, same image.

An image is attenuation, float32 rows × columns in [0, 1]: air and lung dark, bone and heart bright, before
any scanner has touched it (simulations/hospital.py adds window, polarity, noise and bits). Nothing is copied
from a real patient. Coordinates and lengths are those of simulations/anatomy.py.

    >>> rng = np.random.default_rng(1)
    >>> anatomy = draw_anatomy(rng)
    >>> draw(rng, anatomy, draw_nodules(rng, anatomy, 2), (256, 256)).shape
    (256, 256)
"""

from functools import lru_cache

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from simulations.anatomy import Anatomy, Difficulty, Nodule, Pose, draw_anatomy, draw_nodules, draw_pose

__all__ = [
    "Anatomy",
    "Difficulty",
    "Image",
    "Nodule",
    "Pose",
    "draw",
    "draw_anatomy",
    "draw_nodules",
    "draw_pose",
    "outline",
]

Image = NDArray[np.float32]


def draw(
    rng: np.random.Generator,
    anatomy: Anatomy,
    nodules: tuple[Nodule, ...],
    size_px: tuple[int, int],
    *,
    aspect: float | None = None,
    difficulty: Difficulty | None = None,
    pose: Pose | None = None,
) -> Image:
    """One exposure in a new pose, or in `pose`, float32 rows × columns in [0, 1], brighter where more is attenuated.

    `aspect` is the detector's height over its width in mm; by default that of the matrix (square pixels).
    """
    difficulty = difficulty or Difficulty()
    pose = pose or draw_pose(rng)
    x, y = _patient_frame(pose, size_px, aspect or size_px[0] / size_px[1])
    lungs = _lungs(anatomy, x, y)
    heart = _heart(anatomy, x, y)
    air = lungs * (1 - 0.92 * heart)
    image = anatomy.body_density * _body(anatomy, x, y)
    image += 0.15 * heart + _spine(anatomy, x, y)
    image *= 1 - 0.70 * air
    image += _bones(anatomy, x, y, air)
    image += difficulty.texture * (0.35 + air) * _texture(rng, size_px)
    image += 0.22 * air * _hilum(anatomy, x, y)
    for nodule in nodules:
        image += (0.3 + 0.7 * air) * _shadow(nodule, x, y)
    image *= np.float32(pose.exposure)
    result: Image = np.clip(image, 0, 1, out=image)
    return result


def outline(nodule: Nodule, pose: Pose, size_px: tuple[int, int], *, aspect: float | None = None) -> NDArray[np.bool_]:
    """Where `draw` in the same pose shows `nodule`, bool [rows, columns]: from half of its contrast on."""
    x, y = _patient_frame(pose, size_px, aspect or size_px[0] / size_px[1])
    shown: NDArray[np.bool_] = _shadow(nodule, x, y) >= np.float32(nodule.contrast / 2)
    return shown


@lru_cache(maxsize=16)
def _grid(size_px: tuple[int, int], aspect: float) -> tuple[Image, Image]:
    """Centres of the pixels, x as a row and y as a column, in half image widths."""
    rows, columns = size_px
    x = ((np.arange(columns) + 0.5) / columns * 2 - 1).astype(np.float32)[None, :]
    y = (((np.arange(rows) + 0.5) / rows * 2 - 1) * aspect).astype(np.float32)[:, None]
    return x, y


def _patient_frame(pose: Pose, size_px: tuple[int, int], aspect: float) -> tuple[Image, Image]:
    """Patient coordinates x, y [rows, columns] of every pixel."""
    x, y = _grid(size_px, aspect)
    cos, sin = np.float32(np.cos(pose.turn) / pose.zoom), np.float32(np.sin(pose.turn) / pose.zoom)
    x, y = x - np.float32(pose.dx), y - np.float32(pose.dy)
    return cos * x + sin * y, (cos * y - sin * x) * np.float32(1 / pose.breath)


def _edge(distance: Image, width: float) -> Image:
    """0 where `distance` is far below zero, 1 far above, soft over `width`. Overwrites `distance`."""
    distance *= np.float32(1 / width)
    np.tanh(distance, out=distance)
    distance *= np.float32(0.5)
    distance += np.float32(0.5)
    return distance


def _ellipse(x: Image, y: Image, width: float, height: float) -> Image:
    """Positive inside, about the distance to the rim in half axes, zero on it."""
    u, v = x * np.float32(1 / width), y * np.float32(1 / height)
    u *= u
    v *= v
    u += v
    return np.float32(1) - u


def _body(anatomy: Anatomy, x: Image, y: Image) -> Image:
    """The torso: shoulders above, slightly narrower below, thinner towards the flanks."""
    trunk = np.abs(x)
    trunk += np.float32(0.10) * y
    trunk *= np.float32(1 / anatomy.body_width)
    rim = _edge(np.float32(1) - trunk, 0.06)
    slope = np.float32(-0.32) * np.abs(x)
    slope += y + np.float32(1.06)
    body = rim * _edge(slope, 0.10)
    if anatomy.breast:
        for side in (-1, 1):
            breast = _ellipse(x - np.float32(side * 0.44), y - np.float32(0.52), 0.40, 0.32)
            body += np.float32(anatomy.breast) * _edge(breast, 0.35)
    # the abdomen attenuates more than the chest wall: the heart's lower rim is lost in it
    body += np.float32(0.22) * rim * _edge(y - np.float32(0.62), 0.10)
    body *= np.float32(0.95)
    return body


def _lungs(anatomy: Anatomy, x: Image, y: Image) -> Image:
    """Both lung fields: ellipses, pointed at the apex, cut by the domes of the diaphragm."""
    total = np.zeros_like(x)
    for centre, floor in zip(anatomy.lung_x, anatomy.diaphragm, strict=True):
        u = x - np.float32(centre)
        # the apex leans towards the spine
        lean = u + np.float32(0.13 * np.sign(centre)) * (np.float32(0.35) - y)
        field = _edge(_ellipse(lean, y - np.float32(anatomy.lung_y), anatomy.lung_width, anatomy.lung_height), 0.13)
        u *= u
        u *= np.float32(0.9)
        u += y
        dome = _edge(np.float32(floor) - u, 0.025)
        total += field * dome
    return total


def _heart(anatomy: Anatomy, x: Image, y: Image) -> Image:
    """Heart, great vessels and the aortic knob, in [0, 1]."""
    u, v = x - np.float32(anatomy.heart_x), y - np.float32(anatomy.heart_y)
    width, height = anatomy.heart_size
    heart = _edge(_ellipse(u - np.float32(0.22) * v, v - np.float32(0.18) * u, width, height), 0.16)
    width_of_vessels: Image = np.float32(0.120) + np.float32(0.05) * y * y
    vessels = _edge(width_of_vessels - np.abs(x), 0.045)
    knob = _edge(_ellipse(x - np.float32(0.10), y + np.float32(0.27), 0.10, 0.11), 0.30)
    np.maximum(heart, vessels, out=heart)
    np.maximum(heart, knob, out=heart)
    return heart


def _spine(anatomy: Anatomy, x: Image, y: Image) -> Image:
    """A column of vertebrae seen through the mediastinum, and the air of the trachea in front of it."""
    column = _edge(np.float32(anatomy.spine_width) - np.abs(x), 0.035)
    bodies = np.float32(0.055) + np.float32(0.025) * np.cos(y * np.float32(2 * np.pi / anatomy.vertebrae))
    spine: Image = _edge(np.float32(0.045) - np.abs(x), 0.015) * _edge(np.float32(-0.28) - y, 0.04)
    spine *= np.float32(-0.08)
    spine += column * bodies
    return spine


def _bones(anatomy: Anatomy, x: Image, y: Image, air: Image) -> Image:
    """Posterior ribs sloping outwards, fainter anterior ribs crossing them, and both clavicles."""
    across = np.abs(x)
    turn = np.float32(2 * np.pi / anatomy.rib_spacing)
    arch = across - np.float32(0.42)
    arch *= arch
    posterior = np.cos((y - np.float32(anatomy.rib_slope) * across + arch) * turn + np.float32(6.3 * anatomy.rib_phase))
    anterior = np.cos((y + np.float32(0.55) * across - arch) * turn * np.float32(0.9) + np.float32(2.0))
    ribs = _edge(posterior - np.float32(0.25), 0.35)
    ribs += np.float32(0.45) * _edge(anterior - np.float32(0.35), 0.35)
    ribs *= np.float32(anatomy.rib_strength)
    ribs *= np.float32(0.20) + air
    line = y + np.float32(0.63) + np.float32(anatomy.clavicle_tilt) * (across - np.float32(0.35))
    line -= np.float32(0.30) * arch
    clavicle = _edge(np.float32(0.035) - np.abs(line), 0.015) * _edge(np.float32(0.72) - across, 0.03)
    clavicle *= _edge(across - np.float32(0.10), 0.03)
    ribs += np.float32(0.09) * clavicle
    return ribs


def _hilum(anatomy: Anatomy, x: Image, y: Image) -> Image:
    """The roots of both lungs: where vessels crowd, beside the heart."""
    u = np.abs(x)
    u -= np.float32(0.17)
    v = y + np.float32(0.03 - anatomy.lung_y)
    root: Image = np.exp(-(u * u) * np.float32(1 / 0.006) - (v * v) * np.float32(1 / 0.020))
    return root


def _texture(rng: np.random.Generator, size_px: tuple[int, int]) -> Image:
    """Vessels and parenchyma: two octaves of smooth noise, unit variance, independent of the matrix size."""
    coarse = gaussian_filter(rng.standard_normal((24, 24), dtype=np.float32), 1.0, mode="wrap")
    fine = gaussian_filter(rng.standard_normal((64, 64), dtype=np.float32), 1.0, mode="wrap")
    total = np.zeros(size_px, dtype=np.float32)
    for noise, weight in ((coarse, 0.6), (fine, 0.8)):
        grown = PIL.Image.fromarray(noise).resize(size_px[::-1], PIL.Image.Resampling.BILINEAR)
        total += np.float32(weight / float(noise.std())) * np.asarray(grown)
    return total


def _shadow(nodule: Nodule, x: Image, y: Image) -> Image:
    """A nodule's attenuation: a plateau that fades over `softness` of its radius, outline slightly lobed."""
    u, v = x - np.float32(nodule.x), y - np.float32(nodule.y)
    distance = np.sqrt(u * u + v * v)
    amplitude, phase = nodule.lobes
    rim = np.float32(1)
    if amplitude:
        rim = rim + np.float32(amplitude) * np.cos(np.float32(3) * np.arctan2(v, u) + np.float32(phase))
    shadow: Image = _edge(rim - distance * np.float32(1 / nodule.radius), nodule.softness)
    shadow *= np.float32(nodule.contrast)
    return shadow
