"""Three real clinics, private together: mode "distributed" beside DP-SGD on the pooled lesions, and a curve over ε.

    python benchmarks/private_skin.py DATA [--seeds 3] [--no-curve]

DATA holds rosendahl.zip, vidir_modern.zip and vidir_molemax.zip (dermoscopy with labels.csv; not part of Konsil). A
seed is a set of new homes, so of new splits, noise and sampling; within a seed every run has the same held-out lesions.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from clinics import Clinics, Figure, at_epsilon, without_privacy
from msgspec.structs import replace

from client.dicom.dicomize import dicomize
from shared.study import read_study

CLINICS = ("rosendahl", "vidir_modern", "vidir_molemax")
STUDIES = Path(__file__).resolve().parents[1] / "docs" / "studies"
DISTRIBUTED, LOCAL = (read_study(STUDIES / f"skin-{name}.toml") for name in ("distributed", "private"))
#: ε → learning rate: the more noise, the shorter the steps. Chosen in simulations on lesions of the same clinics.
DISTRIBUTED_RATES = {1.0: 5.0, 2.0: 8.0, 4.0: 12.0}
LOCAL_RATES = {1.0: 2.0, 2.0: 3.0, 4.0: 5.0}
#: ε = ∞: the same model, neither clipped nor noisy, all lesions in one place so that nothing drifts.
OPEN = without_privacy(
    DISTRIBUTED, optimizer="adam", learning_rate=0.02, momentum=0.0, rounds=4, local_steps=100, batch=128
)


def show(name: str, figure: Figure) -> Figure:
    """Print one line; the figure as it came."""
    print(f"{name:32} {figure.auc:8.4f} {figure.epsilon:8.3f} {figure.seconds:9.1f}", flush=True)
    return figure


def compare(clinics: Clinics, seed: int) -> tuple[float, float]:
    """AUC of mode "distributed" and of the pooled lesions on the same splits."""
    together = show(f"seed {seed}: distributed", clinics.federated(DISTRIBUTED))
    pooled = show(f"seed {seed}: pooled", clinics.pooled(DISTRIBUTED))
    return together.auc, pooled.auc


def curve(clinics: Clinics) -> Mapping[str, tuple[float, float]]:
    """Per ε, the AUC of modes "distributed" and "local" on one set of splits; ∞ is the same run for both."""
    rows = {}
    for epsilon in (1.0, 2.0, 4.0):
        study = at_epsilon(DISTRIBUTED, epsilon, DISTRIBUTED_RATES[epsilon])
        alone = at_epsilon(LOCAL, epsilon, LOCAL_RATES[epsilon])
        rows[f"{epsilon:g}"] = (
            show(f"ε = {epsilon:g}: distributed", clinics.federated(study)).auc,
            show(f"ε = {epsilon:g}: local", clinics.federated(alone)).auc,
        )
    rows["8"] = (
        show("ε = 8: distributed", clinics.federated(DISTRIBUTED)).auc,
        show("ε = 8: local", clinics.federated(LOCAL)).auc,
    )
    wary = replace(DISTRIBUTED, aggregation=replace(DISTRIBUTED.aggregation, colluders=1))
    show("ε = 8: distributed, 1 colluder", clinics.federated(wary))
    free = show("ε = ∞: pooled, not private", clinics.pooled(OPEN)).auc
    return rows | {"∞": (free, free)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--no-curve", dest="curve", action="store_false")
    options = parser.parse_args()
    started = time.monotonic()
    print(f"{'run':32} {'AUC':>8} {'ε':>8} {'seconds':>9}")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        archives = {clinic.replace("_", "-"): root / clinic for clinic in CLINICS}
        for clinic in CLINICS:
            dicomize(options.data / f"{clinic}.zip", None, root / clinic)
        pairs, rows = [], {}
        for seed in range(options.seeds):
            clinics = Clinics.found(root / f"seed-{seed}", archives, DISTRIBUTED)
            pairs.append(compare(clinics, seed))
            if seed == 0 and options.curve:
                rows = dict(curve(clinics))
    together, pooled = (statistics.mean(column) for column in zip(*pairs, strict=True))
    print(f"\nε = 8, mean of {len(pairs)} seeds: distributed {together:.4f}, pooled {pooled:.4f}")
    print(f"difference {together - pooled:+.4f} (target: within 0.005); distributed at least 0.72")
    if rows:
        print(f"\n{'ε':>4} {'distributed':>12} {'local':>8}   (seed 0)")
        for epsilon, (joint, alone) in rows.items():
            print(f"{epsilon:>4} {joint:12.4f} {alone:8.4f}")
    print(f"everything together: {(time.monotonic() - started) / 60:.1f} minutes (target < 25)")


if __name__ == "__main__":
    main()
