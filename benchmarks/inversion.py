"""What the masks hide: chest images drawn back out of a hospital's update, and not out of its masked one.

    python benchmarks/inversion.py [--out docs/pictures/inversion.png] [--quick]

Four simulated hospitals train the registered `cnn` with `pooling = "flatten"` (else docs/studies/first.toml, privacy
off) for one step on one image each: the easiest prey, fresh weights and a batch of one. Whoever knows the weights
before and the learning rate, as the coordinator does, looks for the image whose gradient points the way of the update:
cosine distance and total variation (Zhu et al. 2019, arXiv 1906.08935; Geiping et al. 2020, arXiv 2003.14053), signed
Adam over a pyramid of resolutions, the best of several copies disturbed and improved again. The same attack is given

    plain     the quantised update as it is before the masks
    masked    the same words under the masks of three peers and of the hospital itself
    sum       the decoded sum of all four, which the coordinator is meant to see; four images are sought at once and
              given to the hospitals they fit best, with the right labels: both in the attacker's favour
    private   the update with the study's clipping and noise (mode "local"), unmasked

Two models that keep less are attacked beside it by their plain updates. first.toml's own `cnn` averages over positions
at its end: what is found is less like the patient. The demo's (`scattering`: fixed wavelets, 64 × 64 images) gives the
image's statistics away exactly and its pixels hardly: the search is for an image with these statistics, and for the
archive image that has them.

Beside each figure stand two that no update is needed for: a flat grey of the right brightness, and somebody else's
chest. Everything is seeded; torch's arithmetic may differ from one machine to the next.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import permutations
from pathlib import Path

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from msgspec.structs import replace
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from client.dicom.archive import prepare
from client.images import Images, Split
from client.training.loop import train
from shared.accounting import noise_multiplier
from shared.models.scattering import Scattering
from shared.network import network_of
from shared.parameters import layout_of, to_vector
from shared.quantize import Quantizer
from shared.secagg.masks import Sign, Words, add_masks
from shared.study import Privacy, Study, read_study
from simulations.hospital import PROFILES, write_hospital

ROOT = Path(__file__).resolve().parents[1]
PATIENTS, SEED = 12, 2026
#: Noisy updates of each image from which only the label is read: few would be a matter of luck.
DRAWS = 200

Vector = NDArray[np.float32]
Picture = NDArray[np.float32]
#: Candidates [p, b, 1, H, W], b images sought at once → how far each is from what was observed, [p].
Distance = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Effort:
    """`copies` of each picture sought; `generations` of `steps` each, all copies starting from the best so far."""

    copies: int = 3
    generations: int = 5
    steps: int = 110
    rate: float = 0.02
    disturbance: float = 0.15
    smoothness: float = 0.03


#: Without positions there are more wrong images to get caught in.
AVERAGE = Effort(copies=4, generations=8)
#: Statistics are slow to compute and soon met: more effort finds no better picture.
DEMO = Effort(copies=2, generations=3, steps=100)
QUICK = Effort(copies=2, generations=2, steps=20)


# The hospitals and what they send


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


# The attack


class Gradients:
    """Gradients of `network` for groups of b images, flat, in the order of updates (sorted names)."""

    def __init__(self, network: nn.Module) -> None:
        self._weights = {name: p.detach() for name, p in sorted(network.named_parameters())}
        self._names = list(self._weights)
        self._layout = layout_of(network)

        def loss(weights: Mapping[str, Tensor], images: Tensor, label: Tensor) -> Tensor:
            return F.cross_entropy(functional_call(network, dict(weights), (images,)), label)

        self._each = vmap(grad(loss), in_dims=(None, 0, 0))

    def __call__(self, images: Tensor, label: Tensor) -> Tensor:
        """[p, b, 1, H, W], [p, b] → [p, d]: of the mean loss over b."""
        found = self._each(self._weights, images, label)
        return torch.cat([found[name].flatten(start_dim=1) for name in self._names], dim=1)

    def label(self, update: Vector) -> int:
        """The label of the one image behind `update`: only its logit's bias goes up (Zhao et al. 2020)."""
        pieces = self._layout.split(update)
        last = max(name for name in pieces if name.startswith("head.") and name.endswith("bias"))
        return int(np.argmax(pieces[last]))

    def distance(self, updates: Sequence[Vector], labels: Sequence[Sequence[int]], copies: int) -> Distance:
        """One minus the cosine between a candidate's gradient and its update; candidates are copy by copy."""
        label = torch.tensor(labels).repeat(copies, 1)
        # a step of plain descent goes against the gradient
        wanted = F.normalize(-torch.from_numpy(np.stack(updates)), dim=1).repeat(copies, 1)

        def distance(images: Tensor) -> Tensor:
            return 1 - (F.normalize(self(images, label), dim=1) * wanted).sum(dim=1)

        return distance


def search(distance: Distance, count: int, shape: tuple[int, ...], effort: Effort, seed: int = 0) -> Tensor:
    """For each of `count` observations the b images [count, b, H, W] of least distance and total variation found.

    `shape` is b, H, W; `distance` sees copies × count candidates.
    """
    together, height, width = shape
    copies, draw = effort.copies, torch.Generator().manual_seed(seed)
    sides = [4 << level for level in range(8) if 4 << level <= height]
    best = torch.full((count, together, height, width), 0.5)
    lowest = torch.full((count,), torch.inf)
    for generation in range(effort.generations):
        # the first copy of each goes on undisturbed, the last is disturbed most
        strength = torch.linspace(0, effort.disturbance, copies) if generation else torch.full((copies,), 0.3)
        pyramid = [
            (torch.randn(copies * count, together, side, side, generator=draw) * strength.repeat_interleave(count)
             [:, None, None, None] * (0.5 if side == height else 1.0)).requires_grad_()
            for side in sides
        ]  # fmt: skip
        base = best.repeat(copies, 1, 1, 1)
        fade = 1 - 0.6 * generation / effort.generations
        images, score = _descend(distance, base, pyramid, effort, effort.rate * fade)
        score = score.reshape(copies, count)
        winner = score.argmin(dim=0)
        found = images.reshape(copies, count, *shape)[winner, torch.arange(count)]
        better = score.amin(dim=0) < lowest
        best = torch.where(better[:, None, None, None], found, best)
        lowest = torch.where(better, score.amin(dim=0), lowest)
    return best


def _descend(
    distance: Distance, base: Tensor, pyramid: list[Tensor], effort: Effort, rate: float
) -> tuple[Tensor, Tensor]:
    """Images in [0, 1] after `effort.steps` of signed Adam on all levels of `pyramid`, and their scores."""

    def made() -> Tensor:
        images = base
        for level in pyramid:
            images = images.add(F.interpolate(level, base.shape[2:], mode="bilinear", align_corners=False))
        return images

    def score(images: Tensor) -> Tensor:
        return distance(images[:, :, None]) + effort.smoothness * _variation(images)

    optimizer = torch.optim.Adam(pyramid, lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, effort.steps, eta_min=0.02 * rate)
    for _ in range(effort.steps):
        images = made()
        outside = (images - images.clamp(0, 1)).square().mean(dim=(1, 2, 3))
        optimizer.zero_grad()
        torch.autograd.backward((score(images) + 10 * outside).sum())
        for level in pyramid:
            if level.grad is not None:
                level.grad.sign_()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        images = made().clamp(0, 1)
        return images, score(images)


def _variation(images: Tensor) -> Tensor:
    """Mean absolute step between neighbours, [p, b, H, W] → [p]."""
    down = (images[:, :, 1:] - images[:, :, :-1]).abs().mean(dim=(1, 2, 3))
    return down + (images[..., 1:] - images[..., :-1]).abs().mean(dim=(1, 2, 3))


def statistics_of(study: Study, update: Vector) -> Tensor:
    """The wavelet statistics of the one image behind an update of `scattering`: its centre moved by
    rate × pull × gain times them, from zero (shared/models/scattering.py)."""
    network = network_of(study)
    if not isinstance(network, Scattering):
        raise ValueError(f"model: expected scattering, got {study.model.name}")
    moved = layout_of(network).split(update)["centre"]
    return torch.from_numpy(moved) / (study.training.learning_rate * network.pull * network.gain)


def statistics(network: Scattering, images: Tensor) -> Tensor:
    """[n, 1, H, W] → [n, features], as the network forms them, with a gradient."""
    found: Tensor = (network.wavelets(images) - network.offset) @ network.decorrelate
    return found


# Figures


def psnr(found: Picture, truth: Picture) -> float:
    """In dB, for values in [0, 1]."""
    return float(-10 * np.log10(np.mean((found.astype(np.float64) - truth) ** 2) + 1e-12))


def ssim(found: Picture, truth: Picture) -> float:
    """Mean structural similarity (Wang et al. 2004): Gaussian window of 1.5 pixels, values in [0, 1]."""

    def blur(image: NDArray[np.float64]) -> NDArray[np.float64]:
        blurred: NDArray[np.float64] = gaussian_filter(image, 1.5, truncate=3.5)
        return blurred

    a, b = found.astype(np.float64), truth.astype(np.float64)
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    light = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
    shape = (2 * covariance + 9e-4) / (var_a + var_b + 9e-4)
    return float(np.mean(light * shape))


@dataclass(frozen=True)
class Column:
    """One way to look at the four hospitals: a picture of each, and what it is held against."""

    title: str
    pictures: list[Picture]
    truths: list[Picture]

    def figures(self) -> list[tuple[float, float]]:
        """PSNR and SSIM by hospital."""
        return [(psnr(a, b), ssim(a, b)) for a, b in zip(self.pictures, self.truths, strict=True)]


def assigned(found: list[Picture], truths: list[Picture]) -> list[Picture]:
    """`found` in the order that fits `truths` best."""
    orders = [[found[k] for k in order] for order in permutations(range(len(found)))]
    return max(orders, key=lambda order: sum(map(psnr, order, truths)))


def table(columns: Sequence[Column], names: Sequence[str]) -> None:
    print(f"{'PSNR in dB / SSIM':34}" + "".join(f"{name:>14}" for name in names) + f"{'mean':>14}")
    for column in columns:
        cells = column.figures()
        cells.append((float(np.mean([p for p, _ in cells])), float(np.mean([s for _, s in cells]))))
        title = column.title.replace("\n", " ")
        print(f"{title:34}" + "".join(f"{p:7.1f} /{s:5.2f}" for p, s in cells))


def draw(path: Path, truths: list[Picture], columns: Sequence[Column], names: Sequence[str]) -> None:
    wide = len(columns) + 1
    figure = Figure(figsize=(1.75 * wide, 2.0 * len(names) + 0.5), dpi=110, layout="constrained")
    grid = figure.subplots(len(names), wide, squeeze=False)
    for row, name in enumerate(names):
        cells = [("truth", truths[row], "")]
        cells += [(c.title, c.pictures[row], f"{c.figures()[row][0]:.1f} dB") for c in columns]
        for axis, (title, picture, caption) in zip(grid[row], cells, strict=True):
            axis.imshow(picture, cmap="gray", vmin=0, vmax=1)
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_xlabel(caption, fontsize=9)
            if row == 0:
                axis.set_title(title, fontsize=9)
        grid[row][0].set_ylabel(name, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    # no date and no version inside: the same figures give the same file
    figure.savefig(path, metadata={"Software": None})


# The whole


def first_study(pooling: str) -> Study:
    """docs/studies/first.toml with another end of its `cnn`."""
    study = read_study(ROOT / "docs" / "studies" / "first.toml")
    return replace(study, model=replace(study.model, options={"pooling": pooling}))


def attack_average(folder: Path, effort: Effort) -> Column:
    """The plain updates of first.toml's own model."""
    study = plain_step(first_study("average"))
    rows = [patient_of(images_of(folder, name, study), number) for number, name in enumerate(PROFILES)]
    updates = [update_of(study, row) for row in rows]
    gradients = Gradients(network_of(study).train())
    distance = gradients.distance(updates, [[gradients.label(update)] for update in updates], effort.copies)
    found = search(distance, len(updates), (1, *study.input.size), effort)
    return Column("plain update,\naverage pooling", [p.numpy() for p in found[:, 0]], [r.pixels[0, 0] for r in rows])


def attack_cnn(folder: Path, effort: Effort) -> tuple[list[Picture], list[Column]]:
    """The truths, and a column for each way to look at the updates."""
    private_study = first_study("flatten")
    study = plain_step(private_study)
    rows = [patient_of(images_of(folder, name, study), number) for number, name in enumerate(PROFILES)]
    truths = [row.pixels[0, 0] for row in rows]
    labels = [int(row.target[0]) for row in rows]
    seen = sent(private_study, [update_of(study, row) for row in rows])
    gradients = Gradients(network_of(study).train())
    side = study.input.size
    single = [*seen.plain, *seen.masked, *seen.private]
    guessed = [[gradients.label(update)] for update in single]
    right = [g == [k] for g, k in zip(guessed, labels * 3, strict=True)]
    rng = np.random.default_rng(SEED)
    private = [
        gradients.label(with_noise(update, private_study, rng)) == k
        for update, k in zip(seen.plain, labels, strict=True)
        for _ in range(DRAWS)
    ]
    print(
        f"labels read off: plain {sum(right[:4])} of 4, masked {sum(right[4:8])} of 4 (chance: 2),"
        f" private {np.mean(private):.0%} over {DRAWS} draws of the noise"
    )
    found = search(gradients.distance(single, guessed, effort.copies), len(single), (1, *side), effort)
    alone = [picture.numpy() for picture in found[:, 0]]
    quartet = search(gradients.distance([seen.total], [labels], effort.copies), 1, (len(rows), *side), effort)
    return truths, [
        Column("plain update", alone[:4], truths),
        Column("masked", alone[4:8], truths),
        Column("sum of four", assigned([picture.numpy() for picture in quartet[0]], truths), truths),
        Column("private,\nunmasked", alone[8:], truths),
    ]


def attack_demo(folder: Path, effort: Effort) -> Column:
    """The demo's own model: the image sought that has the statistics which its plain update tells."""
    study = plain_step(read_study(ROOT / "simulations" / "demo.toml"))
    network = network_of(study)
    if not isinstance(network, Scattering):
        raise ValueError(f"model: expected scattering, got {study.model.name}")
    archive = [images_of(folder, name, study) for name in PROFILES]
    rows = [patient_of(images, number) for number, images in enumerate(archive)]
    told = torch.stack([statistics_of(study, update_of(study, row)) for row in rows])
    everybody = torch.from_numpy(np.concatenate([images.pixels for images in archive]))
    with torch.no_grad():
        nearest = torch.cdist(told, statistics(network, everybody)).argmin(dim=1)
    known = sum(np.array_equal(everybody[int(k)].numpy(), row.pixels[0]) for k, row in zip(nearest, rows, strict=True))
    print(f"demo's model: {known} of {len(rows)} patients' images picked out of {len(everybody)} by a plain update")
    wanted = told.repeat(effort.copies, 1)

    def distance(images: Tensor) -> Tensor:
        """[p, 1, 1, H, W] → squared distance of statistics, as a share of their own length, [p]."""
        away = (statistics(network, images[:, 0]) - wanted).square().sum(dim=1)
        return away / wanted.square().sum(dim=1)

    found = search(distance, len(rows), (1, *study.input.size), effort)
    return Column("plain update,\ndemo's model", [p.numpy() for p in found[:, 0]], [row.pixels[0, 0] for row in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures" / "inversion.png")
    parser.add_argument("--quick", action="store_true", help="seconds, and blurred: shows that it runs")
    options = parser.parse_args()
    matplotlib.use("Agg")
    torch.set_num_threads(1)  # threads that wait for each other on a busy machine cost seven times as much
    torch.set_flush_denormal(True)  # gradients of dead units otherwise cost a hundred times as much
    effort, started = QUICK if options.quick else Effort(), time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archives(folder)
        truths, columns = attack_cnn(folder, effort)
        columns.append(attack_average(folder, QUICK if options.quick else AVERAGE))
        columns.append(attack_demo(folder, QUICK if options.quick else DEMO))
    grey = [np.full_like(truth, truth.mean()) for truth in truths]
    strangers = [*truths[1:], truths[0]]
    names = list(PROFILES)
    guesses = [Column("no update: flat grey", grey, truths), Column("no update: a stranger", strangers, truths)]
    table([*columns, *guesses], names)
    draw(options.out, truths, columns, names)
    print(f"{options.out}: {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
