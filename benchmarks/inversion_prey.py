"""What inversion.py attacks: one image at each of four simulated hospitals, and what an observer gets of its update."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from client.dicom.archive import prepare
from client.images import Images, Split
from client.training.loop import train
from shared.accounting import noise_multiplier
from shared.network import network_of
from shared.parameters import to_vector
from shared.quantize import Quantizer
from shared.secagg.masks import Sign, Words, add_masks
from shared.study import Privacy, Study
from simulations.hospital import PROFILES, write_hospital

PATIENTS, SEED = 12, 2026

Vector = NDArray[np.float32]


def plain_step(study: Study) -> Study:
    """`study` without privacy, one step on one patient a round."""
    training = replace(study.training, local_steps=1, batch=1, momentum=0.0)
    return replace(study, training=training, privacy=Privacy(mode="off"))


def archives(folder: Path) -> None:
    for index, profile in enumerate(PROFILES.values()):
        write_hospital(folder / profile.name, patients=PATIENTS, seed=SEED + index, profile=profile)


def images_of(folder: Path, name: str, study: Study) -> Images:
    """A hospital's images as its training sees them."""
    cache = folder / f"{name}-{study.name}"
    found, _ = prepare(
        folder / name,
        folder / name / "labels.csv",
        cache,
        key=bytes(32),
        study=study,
    )
    return replace_pixels(found, found.tensors(np.arange(len(found.target))))


def replace_pixels(images: Images, pixels: NDArray[np.float32]) -> Images:
    return Images(pixels, images.target, images.patient, images.keys, images.split)


def patient_of(images: Images, number: int) -> Images:
    """One image as a hospital's whole training set: the first training image, clear at every other hospital."""
    rows = images.rows(Split.TRAIN)
    row = int(rows[images.target[rows] == number % 2][0])
    zero, train_split = np.zeros(1, np.int64), np.array([int(Split.TRAIN)])
    return Images(images.pixels[row : row + 1], images.target[row : row + 1], zero, (b"one",), train_split)


def update_of(study: Study, images: Images) -> Vector:
    """Weights after minus weights before one round of the real training loop."""
    module = network_of(study)
    before = to_vector(module)
    train(module, images, study, round=1)
    update: Vector = to_vector(module) - before
    return update


def with_noise(update: Vector, study: Study, rng: np.random.Generator) -> Vector:
    """The update of one private step in which this patient alone was drawn (PRIVACY.md): clipped, noised, divided.

    As client/training/private.py does it, but from a seeded generator, so that the picture repeats.
    """
    clip, sigma, rate = study.privacy.clip, noise_multiplier(study), study.training.learning_rate
    if clip is None or sigma is None:
        raise ValueError("a private study: expected clip and noise, got none")
    gradient = update.astype(np.float64) / rate
    clipped = gradient * min(1.0, clip / float(np.linalg.norm(gradient)))
    noisy = clipped + sigma * clip * rng.standard_normal(len(update))
    result: Vector = (rate / study.training.batch * noisy).astype(np.float32)
    return result


@dataclass(frozen=True)
class Sent:
    """What one observer gets, decoded: an update per hospital, and the sum."""

    plain: list[Vector]
    masked: list[Vector]
    private: list[Vector]
    total: Vector


def sent(study: Study, updates: Sequence[Vector]) -> Sent:
    """Quantise, mask and add as PROTOCOL.md, step 1 says; seeds from a published string instead of key agreement."""
    sites = len(updates)
    quantizer = Quantizer(bound=study.aggregation.update_norm, sites=sites)
    weight = 1 / study.federation.max_images  # each trained on one image
    words = [quantizer.encode(update, weight, seed=seed_of("dither", k)) for k, update in enumerate(updates)]
    masked = [own.copy() for own in words]
    for i, vector in enumerate(masked):
        masks: list[tuple[bytes, Sign]] = [
            (seed_of("mask", min(i, j), max(i, j)), 1 if j >= i else -1) for j in range(sites)
        ]
        add_masks(vector, masks)
    # the self masks' seeds are what the survivors' shares rebuild; the pairs' cancel
    total = added(masked)
    add_masks(total, [(seed_of("mask", i, i), -1) for i in range(sites)])
    if not np.array_equal(total, added(words)):
        raise ValueError("sum: expected the masks to cancel, got another sum")

    def read(vector: Words, count: int) -> Vector:
        return quantizer.decode(vector) / np.float32(weight * count)

    rng = np.random.default_rng(SEED)
    private = [with_noise(update, study, rng) for update in updates]
    return Sent([read(w, 1) for w in words], [read(m, 1) for m in masked], private, read(total, sites))


def added(vectors: Sequence[Words]) -> Words:
    """Their sum, wrapping."""
    total = vectors[0].copy()
    for vector in vectors[1:]:
        np.add(total, vector, out=total)
    return total


def seed_of(*parts: object) -> bytes:
    return sha256(repr(("konsil/inversion/v1", *parts)).encode()).digest()
