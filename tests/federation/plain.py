"""A federation of hospitals in memory, and the same federation as plain arithmetic beside it: no masks, no messages.

What an algorithm makes of both must agree. The local steps are the product's own loop; all that an algorithm adds to
them, and whatever happens between them, is written by the tests.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from client.dicom.archive import Counts
from client.images import Images, Split
from client.training.algorithms.pull import Pull
from client.training.loop import train
from client.workbench import Prepared
from server.report.result import Result
from shared.layout import begin
from shared.network import network_of
from shared.parameters import load_vector, to_vector
from shared.reasons import Reason
from shared.study import Study, parse_study
from shared.wire import digest
from simulations.faults import LocalLink
from simulations.local import LocalFederation
from simulations.wards import SIDE, found, site_of

Vector = NDArray[np.float64]
ROUNDS, STEPS, RATE, BATCH = 3, 2, 0.05, 4
#: training patients of each hospital
PATIENTS = {"alder": 5, "birch": 10, "cedar": 7, "elder": 9, "hazel": 6}
THREE, FIVE = tuple(PATIENTS)[:3], tuple(PATIENTS)
POLICY = """\
[privacy]
least = "off"
[aggregation]
min_cohort = 2
colluders = 0
adversary = "none"
[studies]
ask = false
"""
STUDY = parse_study(f"""
name = "tiny"
[task]
labels = ["clear", "nodule"]
[input]
modalities = ["DX"]
size = [{SIDE}, {SIDE}]
[model]
name = "cnn"
[model.options]
blocks = 2
width = 4
hidden = 4
[training]
rounds = {ROUNDS}
batch = {BATCH}
local_steps = {STEPS}
learning_rate = {RATE}
[federation]
min_sites = 3
timeout_s = 60.0
max_images = 100
[privacy]
mode = "off"
[aggregation]
colluders = 0
[evaluation]
every = {ROUNDS}
""")


def images_of(name: str) -> Images:
    """A hospital of its own brightness and its own share of the finding, which is a brighter half."""
    seed, patients = tuple(PATIENTS).index(name), PATIENTS[name] + 4
    rng = np.random.default_rng(seed)
    label = (rng.random(patients) < 0.2 + 0.15 * seed).astype(np.int64)
    pixels = 0.1 * seed + 0.4 * rng.random((patients, 1, SIDE, SIDE))
    pixels[:, :, :4] += 0.2 * label[:, None, None, None]
    split = np.repeat([Split.VALIDATION, Split.TEST, Split.TRAIN], [2, 2, PATIENTS[name]])
    keys = tuple(digest("konsil/test/v1", name.encode(), bytes([k])) for k in range(patients))
    return Images(pixels.clip(0, 1).astype(np.float32), label, np.arange(patients), keys, split)


def seed_of(name: str, study: Study) -> int:
    """What fixes a hospital's batches."""
    return int.from_bytes(digest("konsil/augment/v1", name.encode())[:4], "big") + study.training.seed


def asking(strategy: str, **options: float) -> Study:
    return replace(STUDY, federation=replace(STUDY.federation, strategy=strategy, options=options))


@dataclass
class Federated:
    """What a run through real hospitals left: its `weights` at the end, its result, what crossed."""

    local: LocalFederation
    link: LocalLink
    weights: NDArray[np.float32]
    result: Result


def federated(folder: Path, study: Study, names: tuple[str, ...] = THREE) -> Federated:
    local = found(folder / "federation", names, POLICY)
    sites = []
    for name in names:
        images = images_of(name)
        counts = Counts(len(images.target), len(images.target), dict.fromkeys(Reason, 0))
        sites.append(site_of(local, name, Prepared(images, counts)))
    link = LocalLink(sites)
    outcome, result = local.run(link, study)
    assert (result.status, outcome.checkpoint.memory.round) == ("finished", study.training.rounds), result.because
    assert result.sites.left_out == ()
    return Federated(local, link, outcome.checkpoint.state.weights, result)


@dataclass
class Plain:
    """Hospitals without masks: `memory` of each and of the coordinator, by name."""

    study: Study
    images: dict[str, Images]
    weights: Vector
    memory: dict[str, Vector] = field(default_factory=dict)
    square: float = 0.0

    @property
    def shares(self) -> dict[str, float]:
        sizes = {name: len(images.rows(Split.TRAIN)) for name, images in self.images.items()}
        return {name: size / sum(sizes.values()) for name, size in sizes.items()}

    def recall(self, name: str) -> Vector:
        return self.memory.get(name, np.zeros_like(self.weights))

    @classmethod
    def of(cls, study: Study, names: tuple[str, ...] = THREE) -> "Plain":
        return cls(study, {name: images_of(name) for name in names}, begin(study)[1].astype(np.float64))

    def local(
        self, name: str, round_: int, *, mu: float = 0.0, linear: Vector | None = None, begin: Vector | None = None
    ) -> Vector:
        """Δ of one hospital whose loss has μ ÷ 2 |w − x|² + ⟨linear, w⟩ added, and that begins where all do, or at
        `begin`."""
        module, start = network_of(self.study), self.weights.astype(np.float32)
        load_vector(module, start if begin is None else begin.astype(np.float32))
        pull = Pull(mu, start, None if linear is None else linear.astype(np.float32))
        train(module, self.images[name], self.study, round=round_, seed=seed_of(name, self.study), pull=pull)
        return to_vector(module).astype(np.float64) - start

    def mean(self, updates: dict[str, Vector]) -> Vector:
        return sum((self.shares[name] * update for name, update in updates.items()), np.zeros_like(self.weights))

    def plain(self, round_: int, mu: float = 0.0) -> Vector:
        updates = {name: self.local(name, round_, mu=mu) for name in self.images}
        self.square = sum(self.shares[name] * float(update @ update) for name, update in updates.items())
        return self.mean(updates)
