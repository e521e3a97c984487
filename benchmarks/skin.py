"""Three real clinics: which of seven diagnoses, where the lesion is, malignant or not; federated, alone, pooled.

    python benchmarks/skin.py DATA [--study skin-diagnoses ...] [--seeds 3] [--baselines]

DATA holds rosendahl.zip, vidir_modern.zip and vidir_molemax.zip (dermoscopy with labels and masks; not of Konsil). A
seed is a set of new homes: new keys, so new splits. With --baselines every clinic is trained alone and all images
in one place, and judged on the very lesions that the federation is judged on.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from measure import run

from server.report.cross_site import cross_site
from server.report.heads import baseline_head, head_of
from server.report.result import Result, read_result

CLINICS = ("rosendahl", "vidir_modern", "vidir_molemax")
STUDIES = Path(__file__).resolve().parents[1] / "docs" / "studies"
#: Least headline of a study, and the column of its labels.
TARGETS = {"skin": 0.74, "skin-private": 0.63, "skin-diagnoses": 0.80, "skin-lesions": 0.85}
COLUMNS = {"skin-diagnoses": "diagnosis"}


def tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def archives(data: Path, column: str, out: Path) -> Path:
    """The clinics as DICOM in `out`, labelled by `column`; made once."""
    for clinic in CLINICS:
        if not (out / clinic).exists():
            extra = ["--label-column", column] if column else []
            run([tool("konsil-client"), "dicomize", str(data / f"{clinic}.zip"), *extra, "--out", str(out / clinic)])
    return out


def study_run(study: str, folder: Path, out: Path, *, baselines: bool) -> Result:
    sites = [part for clinic in CLINICS for part in ("--site", f"{clinic.replace('_', '-')}={folder / clinic}")]
    extra = ["--baselines"] if baselines else []
    run([tool("konsil-simulate"), "run", str(STUDIES / f"{study}.toml"), *sites, "--out", str(out), *extra])
    return read_result(out / "result.json")


def show(study: str, seed: int, result: Result) -> tuple[float, float | None]:
    """Print one run; its headline and the pooled training's."""
    head = head_of(result)
    if head.value is None:
        sys.exit(f"{study} {result.status}: {result.because}")
    interval = f" ({head.low:.3f} to {head.high:.3f})" if head.low is not None and head.high is not None else ""
    print(f"\n{study}, seed {seed}: {head.shown} {head.value:.4f}{interval}, target {TARGETS[study]:.2f};", end=" ")
    print(
        f"{result.rounds.seconds:.0f} s of rounds, ε {max(p.epsilon_run or 0.0 for p in result.privacy.values()):.2f}"
    )
    for figure in (result.judged.figures if result.judged else ())[1:]:
        if figure.value is not None and figure.name.endswith(("auc", "dice", "accuracy")):
            print(f"  {figure.shown}{f' of {figure.of}' if figure.of else ''} {figure.value:.4f}")
    if table := cross_site(result):
        print("  " + " | ".join(table.columns))
        for row in table.rows:
            print("  " + " | ".join(f"{cell:.4f}" if isinstance(cell, float) else str(cell or "–") for cell in row))
    pooled = baseline_head(result.baselines.pooled).value if result.baselines and result.baselines.pooled else None
    if pooled is not None:
        print(f"  pooled {pooled:.4f}: difference {head.value - pooled:+.4f} (target within 0.01)", flush=True)
    return head.value, pooled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--study", nargs="*", choices=TARGETS, default=["skin-diagnoses", "skin-lesions"])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--baselines", action="store_true")
    given = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for study in given.study:
            column = COLUMNS.get(study, "")
            clinics = archives(given.data, column, root / f"archives-{column or 'label'}")
            rows = [
                show(study, seed, study_run(study, clinics, root / f"{study}-{seed}", baselines=given.baselines))
                for seed in range(given.seeds)
            ]
            print(f"{study}: mean of {len(rows)} seeds {statistics.mean(value for value, _ in rows):.4f}", end="")
            apart = [value - pooled for value, pooled in rows if pooled is not None]
            print(f", beside pooled {statistics.mean(apart):+.4f}" if apart else "", flush=True)
    print(f"everything together: {(time.monotonic() - started) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
