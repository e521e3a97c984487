"""The ledger under kill -9: hospitals that reserve round after round die at any statement, and nothing is forgotten.

    death = Trial(folder, seed=7); death.run()   # raises AssertionError, or returns how many processes died

A process here reserves, and writes down each round that it may use (where a hospital would train). It dies by SIGKILL
before a statement of SQLite's, or within one, drawn at random: statements of opening and of making the file, too. Then:

1. the file is whole (`Ledger.check`, which asks SQLite for its integrity);
2. each round that was used is charged: no patient has spent less than was used of it;
3. each charge is whole: exactly the patients and the event that were asked for;
4. no more is charged than was used but the one round each that was under way.
"""

import os
import random
import signal
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from client.ledger import Ledger, Limits, Purpose
from client.ledger.store import charges
from shared.accounting import Event, SampledGaussian, rdp_epsilon

PATIENTS = tuple(bytes([number]) * 32 for number in range(1, 13))
EVENTS = tuple(SampledGaussian(sampling_rate=0.1, noise_multiplier=float(sigma), steps=2) for sigma in (1, 2, 3))
WIDE = Limits(1e9, 1e9, 1e-5)
#: Rounds after which a process that was not killed ends.
ROUNDS = 12


@dataclass(frozen=True)
class Round:
    """What round `number` of process `name` asks for: always the same."""

    name: str
    number: int

    @property
    def plan(self) -> bytes:
        """32 bytes that name it."""
        return f"{self.name}/{self.number}".encode().ljust(32)

    @property
    def patients(self) -> tuple[bytes, ...]:
        """Some of PATIENTS: now those of before, now others."""
        draw = random.Random(f"{self.name}/{self.number // 3}")  # noqa: S311  no secret
        return tuple(draw.sample(PATIENTS, draw.randint(1, len(PATIENTS))))

    @property
    def event(self) -> SampledGaussian:
        """One of EVENTS."""
        return random.Random(self.plan).choice(EVENTS)  # noqa: S311

    @property
    def purpose(self) -> Purpose:
        """Whom it is charged to."""
        return Purpose(self.plan, "study", b"s" * 32, self.name, self.number)


class Dying(sqlite3.Connection):
    """A connection that kills its process once `Dying.left` statements have begun; within one, after `Dying.steps`
    steps of SQLite's machine."""

    left = 0
    steps = 0

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # whatever sqlite3.connect was given
        self.set_trace_callback(self._began)

    def _began(self, _statement: str) -> None:
        Dying.left -= 1
        if Dying.left > 0:
            return
        if Dying.steps == 0:
            _die()
        self.set_progress_handler(_die, Dying.steps)


def _die() -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 1


@dataclass(frozen=True)
class Trial:
    """Processes at one ledger in `folder`, which may have one from earlier trials; `seed` decides where they die."""

    folder: Path
    seed: int

    @property
    def path(self) -> Path:
        """The ledger."""
        return self.folder / "ledger.sqlite"

    def run(self) -> int:
        """How many processes died; raises AssertionError where the ledger does not hold what it must."""
        draw = random.Random(self.seed)  # noqa: S311
        names = [f"{self.seed}.{number}" for number in range(draw.choice((1, 1, 2)))]
        children = [(name, self._start(name, draw.randint(1, 90), draw.choice((0, 0, 1, 3, 10, 40)))) for name in names]
        deaths = sum(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0 for _, child in children)
        self.verify()
        return deaths

    def _start(self, name: str, left: int, steps: int) -> int:
        child = os.fork()
        if child:
            return child
        try:
            Dying.left, Dying.steps = left, steps
            real = sqlite3.connect
            sqlite3.connect = lambda *a, **k: real(*a, factory=Dying, **k)  # type: ignore[assignment]
            use(self.path, name)
            os._exit(0)
        finally:
            os._exit(1)

    def verify(self) -> None:
        """Rules 1 to 4 of this module."""
        ledger = Ledger(self.path)
        ledger.check()
        used = [Round(*_named(line)) for line in _lines(self.folder / "used")]
        charged = _charged(self.path)
        forgotten = [one for one in used if one.plan not in charged]
        _demand(not forgotten, f"used, not charged: {forgotten}")
        for plan, (patients, event) in charged.items():
            asked = Round(*_named(plan.decode().strip()))
            _demand((set(asked.patients), asked.event) == (patients, event), f"charged otherwise: {asked}")
        spare = Counter(Round(*_named(plan.decode().strip())).name for plan in charged)
        spare.subtract(one.name for one in used)
        _demand(all(count <= 1 for count in spare.values()), f"charged, not used: {spare}")
        worst = max(rdp_epsilon([one.event for one in used if key in one.patients], 1e-5) for key in PATIENTS)
        _demand(ledger.epsilon(1e-5) >= worst * (1 - 1e-9), f"spent {ledger.epsilon(1e-5)}, used {worst}")
        ledger.close()


def use(path: Path, name: str) -> None:
    """Reserve, then use: round after round."""
    ledger = Ledger(path)
    for number in range(ROUNDS):
        one = Round(name, number)
        ledger.reserve(one.patients, one.event, one.purpose, WIDE)
        with (path.parent / "used").open("a") as file:
            file.write(f"{name}/{number}\n")


def _named(line: str) -> tuple[str, int]:
    name, _, number = line.partition("/")
    return name, int(number)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _charged(path: Path) -> dict[bytes, tuple[set[bytes], Event]]:
    """Every charge by its plan, its patients by the table's view: another way than the ledger's own."""
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT plan, patient FROM charge JOIN member USING (cohort)").fetchall()
        found: dict[bytes, tuple[set[bytes], Event]] = {}
        for charge in charges(db):
            found[charge.purpose.plan] = (set(), charge.event)
        for plan, patient in rows:
            found[plan][0].add(patient)
        return found


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)
