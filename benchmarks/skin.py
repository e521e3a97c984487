"""Three real clinics: malignant or not, federated without and with privacy.

    python benchmarks/skin.py DATA [--seeds 1] [--baselines]

DATA holds rosendahl.zip, vidir_modern.zip and vidir_molemax.zip (dermoscopy with labels.csv; not part of Konsil).
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from measure import run

from server.report.result import Result, read_result

CLINICS = ("rosendahl", "vidir_modern", "vidir_molemax")
STUDIES = Path(__file__).resolve().parents[1] / "docs" / "studies"
TARGETS = {"skin": 0.74, "skin-private": 0.63}


def tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def study_run(study: str, archives: Path, out: Path, *, baselines: bool) -> Result:
    sites = [part for clinic in CLINICS for part in ("--site", f"{clinic.replace('_', '-')}={archives / clinic}")]
    extra = ["--baselines"] if baselines else []
    run([tool("konsil-simulate"), "run", str(STUDIES / f"{study}.toml"), *sites, "--out", str(out), *extra])
    return read_result(out / "result.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=1, help="runs of each study; splits and noise differ")
    parser.add_argument("--baselines", action="store_true")
    arguments = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for clinic in CLINICS:
            source = arguments.data / f"{clinic}.zip"
            run([tool("konsil-client"), "dicomize", str(source), "--out", str(root / clinic)])
        rows = [
            (study, study_run(study, root, root / f"{study}-{seed}", baselines=arguments.baselines))
            for study in TARGETS
            for seed in range(arguments.seeds)
        ]
    print(f"{'study':14} {'stratified AUC':>24} {'pooled':>7} {'ε':>6} {'seconds':>8} {'target':>7}")
    for study, result in rows:
        found = result.metrics
        if found is None:
            sys.exit(f"{study} {result.status}: {result.because}")
        epsilon = max(p.epsilon_run or 0.0 for p in result.privacy.values())
        interval = f"{found.stratified_auc:.3f} ({found.stratified_low:.3f}-{found.stratified_high:.3f})"
        print(
            f"{study:14} {interval:>24} {found.pooled_auc:7.3f} {epsilon:6.2f} {result.rounds.seconds:8.0f}"
            f" {TARGETS[study]:7.2f}"
        )
        for name, baseline in (result.baselines.alone if result.baselines else {}).items():
            print(f"  alone {name:16} {baseline.stratified_auc:.3f}")
        if result.baselines and result.baselines.pooled:
            print(f"  pooled {'':15} {result.baselines.pooled.stratified_auc:.3f}")
    print(f"everything together: {(time.monotonic() - started) / 60:.1f} minutes (target < 25)")


if __name__ == "__main__":
    main()
