"""Evidence for the privacy that is accounted for (docs/evidence.md): canaries at three ε, and the final model attacked.

    python benchmarks/audit.py [--canaries 16384] [--steps 24] [--shadows 16]

Exits with 1 unless, at each ε and in both modes, the empirical ε is below the accounted one, and a run without noise
alarms. Minutes.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from client.privacy.release import release
from server.run import conduct, open_run
from server.text import number
from shared.study import MINIMAL, Study, parse_study
from simulations.audit.evidence import claim_of, figures
from simulations.audit.noises import bare, with_share
from simulations.audit.record import Canaries, said_of_membership
from simulations.audit.shadows import Target, attack
from simulations.audit.trial import trial
from simulations.faults import LocalLink
from simulations.hospital import PROFILES, write_hospital
from simulations.local import LocalFederation, Recorder

EPSILONS = (1.0, 4.0, 8.0)
NOISES = {"as promised": release, "half": with_share(0.5), "none": bare}
PRIVATE = 'mode = "{}"\nepsilon = {}\ndelta = 1e-5\nclip = 0.5\nsampling_rate = 0.3\n[aggregation]\ncolluders = 1'
#: Patients of each of three hospitals whose model is attacked.
PATIENTS = 60
ATTACKED = """
name = "attacked"
[task]
labels = ["clear", "nodule"]
[input]
modalities = ["DX", "CR"]
size = [16, 16]
[model]
name = "cnn"
[model.options]
blocks = 2
pooling = "flatten"
[training]
rounds = {rounds}
local_steps = {steps}
batch = {batch}
optimizer = "adam"
learning_rate = 0.002
[federation]
min_sites = 3
max_images = 1000
[privacy]
{privacy}
[evaluation]
every = {rounds}
"""


def canary_study(mode: str, epsilon: float, steps: int) -> Study:
    text = MINIMAL.replace('mode = "off"', PRIVATE.format(mode, epsilon)).replace("local_steps = 2", "local_steps = 1")
    return parse_study(text.replace("rounds = 2", f"rounds = {steps}"))


def canaries(count: int, steps: int) -> bool:
    """The table; whether everything in it is as it must be."""
    print(f"{count} canaries, {steps} steps at rate 0.3, δ = 1e-5; ε of one (δ, ε) pair alone in brackets")
    head = ("mode", "ε asked", "accounted", "composed", "noise", "empirical", "(pair)", "verdict", "seconds")
    print("".join(f"{word:>12}" for word in head))
    good = True
    for mode in ("distributed", "local"):
        for epsilon in EPSILONS:
            for noise, used in NOISES.items():
                study, started = canary_study(mode, epsilon, steps), time.monotonic()
                found = figures(study, trial(study, count, release=used), "as promised")
                row(noise, found, time.monotonic() - started)
                if noise != "half":
                    good &= found.contradicted == (noise == "none")
                    good &= (found.empirical > found.accounted) == (noise == "none")
    return good


def row(noise: str, found: Canaries, seconds: float) -> None:
    verdict = "ALARM" if found.contradicted else "none"
    epsilons = (f"{found.asked:g}", f"{found.accounted:.2f}", f"{found.tight:.2f}")
    proven = (f"{found.empirical:.2f}", f"({found.empirical_pair:.2f})", verdict, f"{seconds:.0f}")
    print("".join(f"{word:>12}" for word in (found.mode, *epsilons, noise, *proven)), flush=True)


def membership(shadows: int) -> None:
    """The final model of a plain run and of a private one, attacked alike."""
    plain = ATTACKED.format(rounds=6, steps=100, batch=16, privacy='mode = "off"')
    private = ATTACKED.format(rounds=60, steps=1, batch=32, privacy=PRIVATE.format("distributed", 8.0))
    with tempfile.TemporaryDirectory() as folder:
        archives = {name: Path(folder) / "archives" / name for name in list(PROFILES)[:3]}
        for seed, (name, archive) in enumerate(archives.items()):
            write_hospital(archive, patients=PATIENTS, seed=seed, profile=PROFILES[name])
        for label, text in (("not private", plain), ("ε = 8", private)):
            study, out, started = parse_study(text), Path(folder) / label, time.monotonic()
            local = LocalFederation.make(out, archives, study)
            start = open_run(out, study, resume=False)
            result = conduct(start, LocalLink(local.sites()), local.federation, Recorder())
            homes = tuple(local.home(name).path for name in archives)
            claim = None if study.privacy.mode == "off" else claim_of(study)
            found = attack(
                Target(out, study, homes, result.rounds.best),
                shadows=shadows,
                claim=claim,
                told=lambda *_: None,
                seed=0,
            )
            area = result.metrics.stratified_auc if result.metrics else None
            seconds = time.monotonic() - started
            print(f"{label:12} (test AUC {number(area)}): {said_of_membership(found)}; {seconds:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--canaries", type=int, default=16384)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--shadows", type=int, default=16)
    arguments = parser.parse_args()
    good = canaries(arguments.canaries, arguments.steps)
    if arguments.shadows:
        membership(arguments.shadows)
    if not good:
        sys.exit("an audit did not come out as it must: see above")


if __name__ == "__main__":
    main()
