import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from client.ledger import Ledger, Limits, Purpose
from shared.accounting import SampledGaussian, rdp_epsilon
from shared.errors import RefusalError, SiteError

DELTA = 1e-5
EVENT = SampledGaussian(sampling_rate=0.1, noise_multiplier=1.5, steps=20)
WIDE = Limits(epsilon_total=100, epsilon_per_study=100, delta=DELTA)


def purpose(round_: int, study: str = "s", run: str = "r", plan: bytes | None = None) -> Purpose:
    return Purpose(plan or f"{study}/{run}/{round_}".encode().ljust(32), study, study.encode().ljust(32), run, round_)


def patients(start: int, stop: int) -> list[bytes]:
    return [number.to_bytes(32, "big") for number in range(start, stop)]


def test_rounds_and_runs_and_studies_compose(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    for round_ in range(3):
        ledger.reserve(patients(0, 5), EVENT, purpose(round_), WIDE)
    ledger.reserve(patients(0, 5), EVENT, purpose(1, study="t", run="q"), WIDE)
    assert ledger.epsilon(DELTA) == rdp_epsilon([EVENT] * 4, DELTA)
    assert ledger.epsilon(DELTA, run="r") == rdp_epsilon([EVENT] * 3, DELTA)


def test_other_patients_are_not_charged(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    ledger.reserve(patients(0, 5), EVENT, purpose(1), WIDE)
    ledger.reserve(patients(5, 9), EVENT, purpose(1, study="t", run="q"), WIDE)
    assert ledger.epsilon(DELTA) == rdp_epsilon([EVENT], DELTA)
    ledger.reserve(patients(4, 6), EVENT, purpose(1, study="u", run="p"), WIDE)
    assert ledger.epsilon(DELTA) == rdp_epsilon([EVENT] * 2, DELTA)


def test_the_same_plan_is_charged_once(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    for _ in range(3):
        ledger.reserve(patients(0, 5), EVENT, purpose(1), WIDE)
    assert ledger.events("r") == (EVENT,)


@pytest.mark.parametrize(
    ("limits", "rule"),
    [(Limits(2.0, 100, DELTA), "privacy.epsilon_total"), (Limits(100, 2.0, DELTA), "privacy.epsilon_per_study")],
)
def test_a_round_that_would_pass_a_limit_is_refused_before_it_is_charged(
    tmp_path: Path, limits: Limits, rule: str
) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    with pytest.raises(RefusalError) as caught:
        for round_ in range(1000):
            ledger.reserve(patients(0, 3), EVENT, purpose(round_), limits)
    assert caught.value.rule == rule
    rounds = len(ledger.events("r"))
    assert rdp_epsilon([EVENT] * rounds, DELTA) <= 2.0 < rdp_epsilon([EVENT] * (rounds + 1), DELTA)


def test_one_exhausted_patient_is_enough_to_refuse(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    ledger.reserve(patients(0, 1), EVENT, purpose(1), WIDE)
    tight = Limits(rdp_epsilon([EVENT], DELTA) * 1.01, 100, DELTA)
    ledger.reserve(patients(1, 4), EVENT, purpose(1, study="t", run="q"), tight)
    with pytest.raises(RefusalError):
        ledger.reserve(patients(0, 4), EVENT, purpose(1, study="u", run="p"), tight)


def test_a_new_process_finds_every_charge(tmp_path: Path) -> None:
    Ledger(tmp_path / "l.sqlite").reserve(patients(0, 2), EVENT, purpose(1), WIDE)
    assert Ledger(tmp_path / "l.sqlite").epsilon(DELTA) == rdp_epsilon([EVENT], DELTA)


def test_what_was_confirmed_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    script = (
        "import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path\n"
        "from client.ledger import *; from shared.accounting import SampledGaussian\n"
        "book = Ledger(Path(sys.argv[1])); wide = Limits(1e9, 1e9, 1e-5)\n"
        "event = SampledGaussian(sampling_rate=0.1, noise_multiplier=1.5, steps=20)\n"
        "start = len(book.events('r'))\n"
        "for k in range(start, start + 100000):\n"
        "    book.reserve([b'p' * 32], event, Purpose(str(k).encode().ljust(32), 's', b's' * 32, 'r', k), wide)\n"
        "    print(k + 1, flush=True)\n"
    )
    root = str(Path(__file__).resolve().parents[2])
    for pause in (0.05, 0.11, 0.17):
        command = [sys.executable, "-c", script, str(path), root]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as child:
            assert child.stdout is not None
            first = child.stdout.readline()
            time.sleep(pause)
            os.killpg(child.pid, signal.SIGKILL)
            confirmed = int((first + child.stdout.read()).split()[-1])
        assert len(Ledger(path).events("r")) >= confirmed


def test_lines_for_the_data_protection_officer(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    ledger.reserve(patients(0, 5), EVENT, purpose(1), WIDE)
    ledger.reserve(patients(0, 5), EVENT, purpose(2), WIDE)
    (line,) = ledger.lines(DELTA)
    assert (line.study, line.run, line.rounds, line.patients) == ("s", "r", 2, 5)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "l.sqlite").write_bytes(b"not a database at all, but long enough to be looked at" * 20)
    with pytest.raises(SiteError, match="Restore it from a backup"):
        Ledger(tmp_path / "l.sqlite")
