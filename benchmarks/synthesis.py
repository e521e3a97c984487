"""New chest X-rays from a federation that is private at ε = 8: what a classifier learns from them alone.

    python benchmarks/synthesis.py DATA [--model gan] [--rounds 20] [--steps 20] [--draw 2000] [--sites 4] [--most N]

DATA is train_val.npz (PneumoniaMNIST, 28 × 28; not part of Konsil): one patient per image. Its training images are
dealt to the hospitals, which train the model together; images are drawn from it; the same small network is trained once
on the drawn images alone and once on the real ones, not private, and both are judged on the validation images, which no
other step has seen. A diffusion costs its autoencoder too: each of the two is trained at half the ε. Prints one JSON
object.
"""

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from client.dicom.dicomize import dicomize
from client.images import Split
from client.inference.archive import opened
from server.initial import start_of
from server.report.result import Result
from shared.layout import layout_for
from shared.study import Study, parse_study
from shared.tasks.registry import kind_of
from shared.weights import save_weights
from simulations.alone import Alone
from simulations.baselines import judge
from simulations.faults import LocalLink
from simulations.local import LocalFederation
from simulations.synthesize import synthesize

EPSILON = 8.0
LABELS = '[task]\nlabels = ["0", "1"]'
AUTOENCODER = "width = 8\nhalvings = 2\nlatent = 3"
STUDY = """
name = "NAME"
TASK
[input]
modalities = ["OT"]
size = [28, 28]
MODEL
[training]
rounds = ROUNDS
local_steps = STEPS
batch = BATCH
optimizer = "adam"
learning_rate = RATE
[federation]
min_sites = 2
max_images = 8000
PRIVACY
[evaluation]
test = 0.1
validation = 0.1
every = EVERY
"""
PRIVATE = '[privacy]\nmode = "local"\nepsilon = EPSILON\ndelta = 1e-5\nclip = 1.0\nsampling_rate = 0.05'
OPEN = '[privacy]\nmode = "off"'
CLASSIFIER = '[model]\nname = "cnn"\n[model.options]\nwidth = 8'


def study_of(name: str, task: str, model: str, privacy: str, **words: object) -> Study:
    """`words` in the place of those in capitals."""
    text = STUDY.replace("NAME", name).replace("TASK", task).replace("MODEL", model).replace("PRIVACY", privacy)
    given = {"ROUNDS": 4, "STEPS": 100, "BATCH": 32, "RATE": 0.003, "EVERY": 1000, "EPSILON": EPSILON, **words}
    for word, value in given.items():
        text = text.replace(word, str(value))
    return parse_study(text, name)


def archive(images: NDArray[np.uint8], labels: NDArray[np.int64], out: Path) -> Path:
    """One patient for each image."""
    pictures = out.with_suffix(".npz")
    np.savez(pictures, images=images, labels=labels)
    dicomize(pictures, None, out)
    return out


def federated(folder: Path, archives: Mapping[str, Path], study: Study, **start: bytes) -> Result:
    """One run in the new `folder`, its model in `folder`/model.safetensors; `start`: files it begins with."""
    local = LocalFederation.make(folder, archives, study)
    (folder / "run").mkdir()
    for name, data in start.items():
        (folder / "run" / f"{name}.safetensors").write_bytes(data)
    outcome, result = local.run(LocalLink(local.sites()), study)
    if result.status != "finished" or result.judged is None:
        raise RuntimeError(f"{study.name}: {result.status}: {result.because}")
    words = {"run": study.name, "round": "0", "study": msgspec.json.encode(study).decode()}
    weights = save_weights(layout_for(study), outcome.checkpoint.best, words)
    (folder / "model.safetensors").write_bytes(weights)
    return result


def generator(root: Path, archives: Mapping[str, Path], model: str, rounds: int, steps: int) -> Result:
    """The run that images are drawn from, in `root`/generator."""
    words = {"ROUNDS": rounds, "STEPS": steps, "BATCH": 50, "RATE": 0.002}
    task = f'{LABELS}\nkind = "synthesis"'
    if model == "gan":
        network = '[model]\nname = "gan"\n[model.options]\nlatent = 16\nwidth = 8'
        return federated(root / "generator", archives, study_of("gan", task, network, PRIVATE, **words))
    rebuilding = '[task]\nkind = "enhancement"\n[task.options]\ndegrade = "none"'
    network = f'[model]\nname = "autoencoder"\n[model.options]\n{AUTOENCODER}'
    words["EPSILON"] = EPSILON / 2
    federated(root / "latents", archives, study_of("latents", rebuilding, network, PRIVATE, **words))
    data = (root / "latents" / "model.safetensors").read_bytes()
    start = f'init = "latents.safetensors"\ninit_sha256 = "{hashlib.sha256(data).hexdigest()}"'
    network = f'[model]\nname = "diffusion"\nfrozen = ["autoencoder"]\n{start}\n[model.options]\n{AUTOENCODER}'
    study = study_of("diffusion", task, f"{network}\nchannels = 16\nlevels = 1\nsteps = 20", PRIVATE, **words)
    return federated(root / "generator", archives, study, latents=data)


def learned_from(place: Path, real: Path, study: Study, folder: Path) -> float | None:
    """AUC on the archive `real` of a network that was trained on the archive `place`, all patients of it."""
    with opened(place, place / "labels.csv", study) as found:
        split = np.full_like(found.images.split, Split.TRAIN)
        alone = Alone(study, replace(found.images, split=split))
        state = alone.begin(start_of(study, folder)[1])
        for round_ in range(1, study.training.rounds + 1):
            state = alone.move(state, round_)
    with opened(real, real / "labels.csv", study) as held_out:
        counts = judge(study, state.result, held_out.images, Split.TEST)
    return kind_of(study).judge(counts).headline.value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", choices=("gan", "diffusion"), default="gan")
    parser.add_argument("--rounds", type=int, default=20, help="of the model that images are drawn from")
    parser.add_argument("--steps", type=int, default=20, help="of a hospital in a round")
    parser.add_argument("--draw", type=int, default=2000, help="images, half of each label")
    parser.add_argument("--sites", type=int, default=4)
    parser.add_argument("--most", type=int, help="real training images, the first ones; all, if not given")
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        with np.load(options.data, allow_pickle=False) as file:
            images, labels = file["train_images"][: options.most], file["train_labels"].reshape(-1)[: options.most]
            held_out = archive(file["val_images"], file["val_labels"].reshape(-1), root / "held-out")
        parts = {f"hospital-{k + 1}": slice(k, None, options.sites) for k in range(options.sites)}
        archives = {name: archive(images[part], labels[part], root / name) for name, part in parts.items()}
        run = generator(root, archives, options.model, options.rounds, options.steps)
        synthesize(root / "generator" / "model.safetensors", root / "drawn", count=options.draw)
        real = archive(images, labels, root / "real")
        study = study_of("classifier", LABELS, CLASSIFIER, OPEN)
        areas = [learned_from(place, held_out, study, root) for place in (root / "drawn", real)]
    print(json.dumps(shown(run, options, areas) | {"seconds": round(time.monotonic() - started, 1)}, indent=1))


def shown(run: Result, options: argparse.Namespace, areas: list[float | None]) -> dict[str, object]:
    if run.judged is None:
        raise RuntimeError("the run was not judged")
    spent = [site.epsilon_run for site in run.privacy.values() if site.epsilon_run is not None]
    return {
        "model": options.model,
        "epsilon_of_the_last_run": max(spent, default=None),
        "epsilon_of_all_runs": EPSILON,
        "drawn": options.draw,
        "auc_trained_on_drawn": areas[0],
        "auc_trained_on_real": areas[1],
        **{figure.name: figure.value for figure in run.judged.figures},
    }


if __name__ == "__main__":
    main()
