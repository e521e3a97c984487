"""What fewer bits per parameter cost: the skin study at 32 bits and narrower, same hospitals, same splits, same seeds.

    python benchmarks/narrow.py DATA [--bits 32 16 12 10] [--rounds 0] [--study skin]

DATA holds rosendahl.zip, vidir_modern.zip and vidir_molemax.zip (dermoscopy with labels.csv; not part of Konsil). The
coordinator, hospitals, masks and bytes are real; only Flower is left out, so that nothing but the words differs from
run to run. Bytes up are one hospital's contribution in one training step, shares and commitments included.
"""

import argparse
import tempfile
import time
from pathlib import Path

from measure import run
from msgspec.structs import replace
from skin import CLINICS, STUDIES, tool

from server.observer import Event, RoundFinished
from shared.messages.requests import Step, read_request
from shared.study import read_study
from simulations.faults import LocalLink
from simulations.local import LocalFederation


class Line:
    """An observer that says now and then how far a run is."""

    def __init__(self, bits: int, rounds: int) -> None:
        self._bits, self._rounds, self._started = bits, rounds, time.monotonic()

    def notice(self, event: Event) -> None:
        """Every tenth round."""
        if isinstance(event, RoundFinished) and event.round % 10 == 0:
            passed, done = time.monotonic() - self._started, event.round
            left = passed / done * (self._rounds - done)
            print(f"  {self._bits} bits: round {done} of {self._rounds}, {left / 60:.0f} min left", flush=True)


def bytes_up(link: LocalLink) -> int:
    """Of one hospital's reply to one training step."""
    for _, request, reply in link.traffic:
        body = read_request(request)
        if isinstance(body, Step) and body.plan.step == "train" and reply is not None:
            return len(reply)
    return 0


class Sampled(LocalLink):
    """A link that keeps the first replies only: a whole run's traffic is gigabytes."""

    def _serve(self, node: int, request: bytes) -> bytes | None:
        del self.traffic[32:]
        return super()._serve(node, request)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--bits", type=int, nargs="+", default=[32, 16, 12, 10])
    parser.add_argument("--rounds", type=int, default=0, help="instead of the study's")
    parser.add_argument("--study", default="skin")
    options = parser.parse_args()
    study = read_study(STUDIES / f"{options.study}.toml")
    if options.rounds:
        study = replace(study, training=replace(study.training, rounds=options.rounds))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for clinic in CLINICS:
            run([tool("konsil-client"), "dicomize", str(options.data / f"{clinic}.zip"), "--out", str(root / clinic)])
        names = {clinic.replace("_", "-"): root / clinic for clinic in CLINICS}
        local = LocalFederation.make(root / "federation", names, study)
        print(f"{'bits':>5}{'stratified AUC, test':>28}{'bytes up':>12}{'seconds':>9}", flush=True)
        for bits in options.bits:
            narrow = replace(study, name=f"{study.name}-{bits}", aggregation=replace(study.aggregation, bits=bits))
            link, started = Sampled(local.sites()), time.monotonic()
            _, result = local.run(link, narrow, out=f"run-{bits}", recorder=Line(bits, narrow.training.rounds))
            found = result.metrics
            if found is None:
                raise SystemExit(f"{bits} bits: {result.status}: {result.because}")
            interval = f"{found.stratified_auc:.4f} ({found.stratified_low:.3f}-{found.stratified_high:.3f})"
            seconds = time.monotonic() - started
            print(f"{bits:5}{interval:>28}{bytes_up(link):12,}{seconds:9.0f}", flush=True)


if __name__ == "__main__":
    main()
