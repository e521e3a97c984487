"""The ledger under kill -9 at random statements, and on a full disk. A thousand: benchmarks/ledger.py --kills 1000."""

import os
import resource
import sys
from pathlib import Path

import pytest

from client.ledger import Ledger
from shared.errors import SiteError
from tests.client.ledger.cases import EVENT, WIDE, patients, purpose

# benchmarks/ is a folder of scripts, not a package.
sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))

import ledger_kills


def test_killed_at_random_statements_nothing_used_is_forgotten(tmp_path: Path) -> None:
    died = 0
    for seed in range(45):
        folder = tmp_path / str(seed // 15)
        folder.mkdir(exist_ok=True)
        died += ledger_kills.Trial(folder, seed).run()
    assert died > 30


def test_what_the_kills_are_held_against_is_noticed(tmp_path: Path) -> None:
    ledger_kills.use(tmp_path / "ledger.sqlite", "a")
    trial = ledger_kills.Trial(tmp_path, 0)
    trial.verify()
    with (tmp_path / "used").open("a") as file:
        file.write(f"a/{ledger_kills.ROUNDS}\n")
    with pytest.raises(AssertionError, match="used, not charged"):
        trial.verify()


def test_a_full_disk_refuses_before_training(tmp_path: Path) -> None:
    path, used = tmp_path / "l.sqlite", tmp_path / "used"
    Ledger(path).reserve(patients(0, 3), EVENT, purpose(0), WIDE)
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))  # no file may grow beyond this
            os._exit(train_until_full(path, used))
        finally:
            os._exit(99)
    rounds = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert 0 < rounds < 99
    ledger = Ledger(path)
    ledger.check()
    assert len(used.read_bytes()) == rounds
    assert len(ledger.events("r")) == rounds + 1
    ledger.reserve(patients(0, 3), EVENT, purpose(rounds + 1), WIDE)  # once there is room again


def train_until_full(path: Path, used: Path) -> int:
    """How many rounds could be reserved, each of them then used."""
    ledger = Ledger(path)
    for round_ in range(1, 98):
        try:
            ledger.reserve([*patients(0, 3), *patients(10 * round_, 10 * round_ + 9)], EVENT, purpose(round_), WIDE)
        except SiteError:
            return round_ - 1
        with used.open("ab") as file:
            file.write(b".")
    return 98
