"""The demo as a newcomer runs it: seconds, memory, ε, AUC beside the best hospital alone.

python benchmarks/demo.py
"""

import sys
import tempfile
from pathlib import Path

from measure import run

from server.report.result import read_result

with tempfile.TemporaryDirectory() as folder:
    command = [str(Path(sys.executable).with_name("konsil-simulate")), "demo", "--out", folder]
    measured = run(command)
    result = read_result(Path(folder) / "result.json")

if result.metrics is None or result.baselines is None:
    sys.exit(f"the run {result.status}: {result.because}")
alone = {name: baseline.stratified_auc or 0.0 for name, baseline in result.baselines.alone.items()}
best = max(alone, key=lambda name: alone[name])
pooled = result.baselines.pooled
print(f"seconds in all             {measured.seconds:8.1f}   target < 240")
print(f"peak memory, GiB           {measured.peak_bytes / 2**30:8.2f}   target < 6")
print(f"worst ε per patient        {max(p.epsilon_total or 0.0 for p in result.privacy.values()):8.3f}   target ≤ 8")
print(f"site-stratified AUC        {result.metrics.stratified_auc:8.3f}   target ≥ 0.90")
print(f"best hospital alone        {alone[best]:8.3f}   ({best})")
print(f"all images pooled          {pooled.stratified_auc if pooled else float('nan'):8.3f}")
print(f"rounds, seconds            {result.rounds.seconds:8.1f}   slowest site {result.rounds.slowest_site_s:.1f}")
