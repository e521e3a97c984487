from pathlib import Path

from client.ledger import Ledger
from shared.accounting import SampledGaussian, rdp_epsilon
from tests.client.ledger.cases import DELTA, EVENT, WIDE, patients, purpose

SHARED = SampledGaussian(sampling_rate=0.1, noise_multiplier=3.0, steps=2, honest=9)
OWN = SampledGaussian(sampling_rate=0.1, noise_multiplier=1.0, steps=2)


def test_nothing_spent(tmp_path: Path) -> None:
    found = Ledger(tmp_path / "l.sqlite").statement(DELTA)
    assert (found.lines, found.studies, found.histories, found.charges) == ((), (), (), 0)
    assert (found.whole.patients, found.whole.epsilon, found.whole.alone) == (0, 0.0, 0.0)


def test_runs_studies_and_everything(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    ledger.reserve(patients(0, 5), EVENT, purpose(1), WIDE)
    ledger.reserve(patients(0, 5), EVENT, purpose(2), WIDE)
    ledger.reserve(patients(5, 7), EVENT, purpose(2, what="evaluate"), WIDE)
    ledger.reserve(patients(4, 6), EVENT, purpose(1, run="again"), WIDE)
    ledger.reserve(patients(6, 9), SHARED, purpose(1, study="t", run="q"), WIDE)
    found = ledger.statement(DELTA)
    one, two, three = (rdp_epsilon([EVENT] * times, DELTA) for times in (1, 2, 3))
    shown = {(line.study, line.run, line.what): (line.rounds, line.patients, line.epsilon) for line in found.lines}
    assert shown == {
        ("s", "r", "train"): (2, 5, two),
        ("s", "r", "evaluate"): (1, 2, one),
        ("s", "again", "train"): (1, 2, one),
        ("t", "q", "train"): (1, 3, rdp_epsilon([SHARED], DELTA)),
    }
    totals = {total.study: (total.patients, total.epsilon) for total in found.studies}
    assert totals == {"s": (7, three), "t": (3, rdp_epsilon([SHARED], DELTA))}
    assert (found.whole.patients, found.whole.epsilon, found.charges) == (9, three, 5)
    assert found.bands((one, two)) == (2, 6, 1)  # patients 7 and 8; 0 to 3, 5 and 6; 4


def test_alone_is_without_the_noise_of_others(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    ledger.reserve(patients(0, 2), SHARED, purpose(1), WIDE)
    (line,) = ledger.lines(DELTA)
    assert (line.epsilon, line.alone) == (rdp_epsilon([SHARED], DELTA), rdp_epsilon([OWN], DELTA))
    assert ledger.statement(DELTA).whole.alone == line.alone > line.epsilon


def test_bands_have_their_upper_edge(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    ledger.reserve(patients(0, 2), SampledGaussian(sampling_rate=1.0, noise_multiplier=5.0, steps=1), purpose(1), WIDE)
    (epsilon, _), *_ = ledger.statement(DELTA).histories
    assert ledger.statement(DELTA).bands((0.0, epsilon * (1 - 1e-12))) == (0, 2, 0)
    assert ledger.statement(DELTA).bands((0.0, epsilon * 0.999)) == (0, 0, 2)
