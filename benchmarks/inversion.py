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
from pathlib import Path

import matplotlib
import numpy as np
import torch
from inversion_pictures import Column, Picture, assigned, draw, table
from inversion_prey import SEED, archives, images_of, patient_of, plain_step, sent, update_of, with_noise
from inversion_search import Effort, Gradients, search, statistics, statistics_of
from msgspec.structs import replace
from torch import Tensor

from shared.models.scattering import Scattering
from shared.network import network_of
from shared.study import Study, read_study
from simulations.hospital import PROFILES

ROOT = Path(__file__).resolve().parents[1]
#: Noisy updates of each image from which only the label is read: few would be a matter of luck.
DRAWS = 200
#: Without positions there are more wrong images to get caught in.
AVERAGE = Effort(copies=4, generations=8)
#: Statistics are slow to compute and soon met: more effort finds no better picture.
DEMO = Effort(copies=2, generations=3, steps=100)
QUICK = Effort(copies=2, generations=2, steps=20)


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
